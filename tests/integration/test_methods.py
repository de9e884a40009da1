"""Every method of the comparison is a row: the same path, the same data, the same rewards."""

import pytest
from hydra import compose, initialize_config_dir

from mva import experiment as module
from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.evaluation.ledger import Ledger
from mva.pipeline import filter_pairs, find_front, make_rewards, train_vectors
from mva.stages import Stages

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

METHODS = sorted(path.stem for path in (conf_folder() / "method").glob("*.yaml"))
SMALL = ["trainer.recipe.steps=2", "evaluation.n_validation_prompts=3", "evaluation.n_test_prompts=3", "reward=length"]
N_CANDIDATES = {
    # With the base; the simplex has 11 points, the grid 5 levels a value.
    "dare": 25, "dpo_single": 3, "joint_decorrelated": 25, "loss_weighting": 6, "mod_decoding": 12, "modpo": 6,
    "mva": 25, "orthalign": 25, "orthogonal": 25, "rewarded_soups": 12, "rewarded_soups_average": 12,
    "sequential_dpo": 3, "ties": 25, "vc_soup": 12,
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def open_session(folder, cache, *overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", ["debug=smoke", f"paths.cache={cache}", *SMALL, *overrides])
    experiment = assemble.experiment(config)
    data, _ = experiment.data.load(experiment.values)
    return module.open_session(experiment, experiment.model.load(), data, Stages(folder))


def run(session, folder):
    vectors = train_vectors(filter_pairs(session), log=lambda _metrics, _step: None)
    return vectors, find_front(session, vectors, make_rewards(session, vectors), Ledger(folder))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_hands_over_a_front_of_the_same_values(method, tmp_path, cache):
    session = open_session(tmp_path, cache, f"method={method}")
    vectors, front = run(session, tmp_path)
    assert tuple(vector.value for vector in vectors) == session.experiment.space.values
    assert front.values == ("helpful", "harmless")
    assert front.n_candidates == N_CANDIDATES[method]
    assert front.points
    assert all(set(point.coefficients) == set(session.experiment.space.values) for point in front.points)
    assert front.hypervolume_held_out is not None


def test_methods_share_the_vectors_that_are_the_same(tmp_path, cache):
    def keys(method):
        session = open_session(tmp_path, cache, f"method={method}")
        return {vector.value: vector.key for vector in train_vectors(session, log=lambda _metrics, _step: None)}

    alone = keys("dpo_single")
    for method in ("rewarded_soups", "ties", "dare", "mod_decoding"):
        assert keys(method) == alone
    assert (
        keys("mva")["helpful"] == keys("sequential_dpo")["helpful"] == keys("orthalign")["helpful"] == alone["helpful"]
    )
    weighted, margins = keys("loss_weighting"), keys("modpo")
    assert {value: weighted[value] for value in alone} == {value: margins[value] for value in alone} == alone
    assert len({weighted["helpful_50-harmless_50"], margins["helpful_50-harmless_50"]}) == 2


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_wired_to_two_values(method, tmp_path, cache):
    words = ["value=helpful_harmless_honest", f"method={method}", "plan.divisions=2"]
    words = words if method in ("loss_weighting", "modpo") else words[:2]
    space = {
        "dare": "coarse",
        "ties": "coarse",
        "joint_decorrelated": "coarse",
        "mva": "coarse",
        "orthogonal": "coarse",
    }
    small = f"search={space[method]}" if method in space else ""
    session = open_session(tmp_path, cache, *filter(None, [*words, small]))
    _, front = run(session, tmp_path)
    assert front.values == ("helpful", "harmless", "honest")
    assert all(set(point.scores) == set(front.values) for point in front.points)


def test_five_values_are_a_run_like_any_other(tmp_path, cache):
    session = open_session(tmp_path, cache, "value=five", "search=sobol", "search.n=8", "estimator=correlation")
    vectors, front = run(session, tmp_path)
    assert [vector.value for vector in vectors] == ["helpful", "harmless", "honest", "brief", "detailed"]
    assert front.n_candidates == 8 + 6
