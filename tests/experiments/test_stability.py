"""Stability: what is computed against numbers found by hand, and the whole study on a tiny model."""

import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.data.prompts import evaluation_prompts
from mva.diagnostics import Diagnostics
from mva.evaluation.ledger import Ledger
from mva.experiment import open_session
from mva.models.merge import merged
from mva.models.sources.pretrained import Pretrained
from mva.pareto.front import Front
from mva.pipeline import make_evaluator, make_rewards, train_independently, train_vectors
from mva.stages import Stages

T_OF_FOUR_PROMPTS = 3.18245


@pytest.fixture
def stability(script):
    return script("stability")


def test_what_is_kept_is_compared_on_the_same_prompts_by_hand(stability):
    found = stability.kept(base=[0.0, 0.0, 1.0, 1.0], merged=[2.0, 2.0, 3.0, 3.0], tuned=[1.0, 1.0, 2.0, 4.0])
    assert (found["base"], found["merged"], found["tuned"]) == (0.5, 2.5, 2.0)
    assert found["share"] == pytest.approx(0.75)
    assert found["change"] == pytest.approx(-0.5)
    assert found["half"] == pytest.approx(T_OF_FOUR_PROMPTS * 1.0 / 2, rel=1e-5)  # the changes are -1, -1, -1, 1


def test_where_merging_gained_nothing_no_share_of_it_is_told(stability):
    assert stability.kept([1.0, 1.0], [1.0, 1.0], [2.0, 3.0])["share"] is None


def test_the_point_that_spans_most_by_itself_is_merged(stability, tmp_path, write_scored_run):
    scores = {(0, 0): (0, 0), (1, 0): (10, 1), (0, 1): (1, 10), (1, 1): (6, 5)}
    folder = write_scored_run(tmp_path / "run", ("helpful", "harmless"), scores)
    front = Front.from_json(json.loads((folder / "front.json").read_text()))
    # From (-1, -1): 7 x 6 against 11 x 2.
    assert dict(stability.spans_most(front).coefficients) == {"helpful": 1, "harmless": 1}


@pytest.fixture
def dtype():
    return "float32"


@pytest.fixture
def config(tmp_path, dtype):
    words = [
        "experiment=stability",
        "debug=smoke",
        "reward=length",
        f"paths.cache={tmp_path / 'cache'}",
        f"model.dtype={dtype}",
    ]
    few = ["trainer.recipe.steps=8", "trainer.execution.snapshot_every=3", "trainer.execution.validation_pairs=2"]
    few += ["evaluation.n_validation_prompts=3", "evaluation.n_test_prompts=3", "further.steps=2"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=[*words, *few])


@pytest.fixture
def study(stability, config, tmp_path):
    e = assemble.experiment(config)
    data, _ = e.data.load(e.values)
    session = open_session(e, e.model.load(), data, Stages(tmp_path))
    vectors = train_vectors(session, log=lambda _metrics, _step: None)
    return stability.Study(session, vectors, make_rewards(session, vectors), tmp_path / "stability")


def test_the_last_snapshot_is_the_vector_itself(study):
    *_, last = way = study.along_the_way()
    assert [row["step"] for row in way] == [3, 6, 8]
    independent = train_independently(study.session, study.vectors)
    assert last["pairs"] == Diagnostics(study.session, study.vectors, independent).dependence()["pairs"]
    assert set(last["scores"]) == {"helpful", "harmless"}
    assert last["values"]["harmless"]["norm"] == pytest.approx(study.vectors[1].norm())
    assert way[0]["values"]["harmless"]["norm"] < last["values"]["harmless"]["norm"]


def test_after_a_merge_the_candidate_scores_what_it_scored_before(study, config, tmp_path):
    e = study.session.experiment
    candidate = e.space.candidate([1.0, 0.5])
    found = study.after_a_merge(config, candidate)
    assert [row["trained_on"] for row in found] == ["helpful", "honest"]
    ledger = Ledger(tmp_path)
    (scored,) = make_evaluator(study.session, study.vectors, study.rewards, ledger, split="test")([candidate])
    for row in found:
        assert {value: one["merged"] for value, one in row["values"].items()} == pytest.approx(dict(scored.scores))


def test_the_tuned_model_is_a_candidate_of_the_base(stability, study, config, tmp_path):
    backbone, compose_of = study.session.backbone, study.session.experiment.composition.compose
    vector = compose_of(study.vectors, {"helpful": 1.0, "harmless": 0.5})
    study.after_a_merge(config, study.session.experiment.space.candidate([1.0, 0.5]))
    tuned = study._further(config, "honest", study.home / "merged")
    loaded = study.session.experiment.model.__class__(Pretrained(str(study.home / "merged"))).load()
    assert tuned.base == loaded.fingerprint != backbone.fingerprint
    (prompt, *_) = evaluation_prompts(study.session.data, "test", 1)
    tokens = torch.tensor([backbone.template.prompt_ids(prompt)])
    both = compose_of([vector, tuned], {vector.value: 1.0, tuned.value: 1.0})
    with merged(loaded, tuned) as model, torch.no_grad():
        expected = model(tokens).logits
    with merged(backbone, both) as model, torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_a_merge_into_rounded_weights_keeps_the_whole_update(study):
    (vector, _), base = study.vectors, study.session.backbone.model.state_dict()
    after = load_file(study.merge(vector) / "model.safetensors")
    for module, factor in vector.factors.items():
        name = f"{module}.weight"
        torch.testing.assert_close(after[name] - base[name].float(), factor.update(), rtol=1e-3, atol=1e-6)
