"""What a session's vectors have to do with each other, on a tiny model."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from scipy import stats

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.diagnostics import PANELS, Diagnostics, preservation
from mva.estimators.chance import chance_level
from mva.evaluation.ledger import Ledger
from mva.experiment import open_session
from mva.pipeline import make_evaluator, make_rewards, train_independently, train_vectors
from mva.stages import Stages

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def session(folder, *overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        words = ["debug=smoke", f"paths.cache={folder / 'cache'}", "estimator=correlation", "penalty.strength=100"]
        sizes = ["trainer.recipe.steps=6", "trainer.recipe.learning_rate=0.01", "evaluation.n_validation_prompts=4"]
        config = compose("config", [*words, *sizes, "reward=length", *overrides])
    experiment = assemble.experiment(config)
    data, _ = experiment.data.load(experiment.values)
    return open_session(experiment, experiment.model.load(), data, Stages(folder))


def silent(_metrics, _step):
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    opened = session(tmp_path_factory.mktemp("run"), "value=helpful_harmless_honest")
    vectors = train_vectors(opened, log=silent)
    return opened, vectors, train_independently(opened, vectors)


def test_the_counterpart_of_the_first_vector_is_itself_and_the_others_never_saw_a_penalty(trained):
    _, vectors, independent = trained
    assert [v.value for v in independent] == [v.value for v in vectors]
    assert independent[0].key == vectors[0].key
    assert all(v.key != other.key for v, other in zip(vectors[1:], independent[1:], strict=True))


def test_independent_vectors_are_those_of_strength_0(trained, tmp_path):
    opened, _, independent = trained
    store = opened.experiment.store
    unpenalised = session(tmp_path, "value=helpful_harmless_honest", "penalty.strength=0", f"paths.cache={store.root}")
    assert [v.key for v in train_vectors(unpenalised, log=silent)] == [v.key for v in independent]


def test_the_table_holds_every_two_vectors_beside_chance_and_independent_training(trained):
    opened, vectors, independent = trained
    table = Diagnostics(opened, vectors, independent, draws=4).dependence()
    assert [(p["first"], p["second"]) for p in table["pairs"]] == [
        ("helpful", "harmless"),
        ("helpful", "honest"),
        ("harmless", "honest"),
    ], "the penalty's estimator is correlation already: it stands there once"
    assert table["norms"] == {v.value: v.norm() for v in vectors}
    row = table["pairs"][0]
    measure = opened.experiment.decorrelation
    level = chance_level(
        measure.estimator, measure.view, vectors[1].factors, vectors[0].factors, draws=4,
        generator=torch.Generator().manual_seed(opened.experiment.seed),
    )  # fmt: skip
    assert (row["dependence"], row["chance_mean"], row["z"]) == (level.measured, level.mean, level.z)
    cosines = [v.factors for v in independent]
    assert row["independent_training"] == pytest.approx(
        measure.penalty(cosines[1], [cosines[0]]).item() / measure.strength, rel=1e-5
    )
    assert row["dependence"] < row["independent_training"], "a penalty of 100 lowers what it penalises"


def test_the_map_has_every_module_in_every_panel_between_0_and_1(trained):
    opened, vectors, independent = trained
    found = Diagnostics(opened, vectors, independent, draws=3).interference_map()
    assert len(found["pairs"]) == 3
    for pair in found["pairs"]:
        assert set(pair["panels"]) == set(PANELS)
        for panel in pair["panels"].values():
            assert list(panel["modules"]) == list(vectors[0].factors)
            assert all(-1e-6 <= x <= 1 + 1e-6 for x in panel["modules"].values())
            assert 0 <= panel["chance"] <= 1


@pytest.mark.parametrize("words", [["penalty=activations"], ["penalty=activations", "estimator=normalized_hsic"]])
def test_the_penalty_may_look_at_activations(words, tmp_path):
    opened = session(tmp_path, *words)
    vectors = train_vectors(opened, log=silent)
    (row, *_) = Diagnostics(opened, vectors, train_independently(opened, vectors), draws=2).dependence()["pairs"]
    assert row["view"] == "activations"
    assert row["dependence"] != row["independent_training"]


def test_a_vector_is_compared_with_its_counterpart_prompt_by_prompt(trained, tmp_path):
    opened, vectors, independent = trained
    rewards = make_rewards(opened, vectors)
    both = [
        make_evaluator(opened, group, rewards, Ledger(tmp_path / name), split="validation")
        for name, group in (("a", vectors), ("b", independent))
        if (tmp_path / name).mkdir() is None
    ]
    kept = preservation(vectors, independent, *both, space=opened.experiment.space, smallest_difference=0.05)
    assert set(kept) == {"harmless", "honest"}
    alone = opened.experiment.space.alone("harmless")
    mine, other = (torch.tensor(e.rewards_of(alone, "harmless"), dtype=torch.float64) for e in both)
    facts = kept["harmless"]
    assert facts["difference"] == pytest.approx((mine - other).mean().item())
    interval = stats.ttest_rel(mine.numpy(), other.numpy()).confidence_interval()
    if (mine - other).std() > 0:
        assert (facts["low"], facts["high"]) == pytest.approx((interval.low, interval.high))
    assert facts["norm_independent"] == independent[1].norm()
