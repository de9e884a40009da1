"""Every architecture goes the whole way: two vectors, a penalty, combinations, a front."""

import pytest
from hydra import compose, initialize_config_dir

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.diagnostics import Diagnostics
from mva.evaluation.ledger import Ledger
from mva.experiment import Session
from mva.pipeline import find_front, make_rewards, train_independently, train_vectors
from mva.stages import Stages

MODEL_TYPES = {
    "tiny_gemma": "gemma2", "tiny_gpt2": "gpt2", "tiny_gpt_neox": "gpt_neox", "tiny_llama": "llama",
    "tiny_mistral": "mistral", "tiny_opt": "opt", "tiny_qwen": "qwen2",
}  # fmt: skip


def open_session(folder, *overrides):
    words = ["debug=smoke", f"paths.cache={folder / 'cache'}", "trainer.recipe.steps=8", *overrides]
    few = [
        "trainer.execution.validation_pairs=2",
        "evaluation.n_validation_prompts=3",
        "evaluation.n_test_prompts=3",
        "reward=length",
        "search=coarse",
    ]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        experiment = assemble.experiment(compose("config", [*words, *few]))
    data, _ = experiment.data.load(experiment.values)
    return Session(experiment, experiment.model.load(), data, Stages(folder))


@pytest.mark.parametrize("option", sorted(path.stem for path in (conf_folder() / "model").glob("tiny_*.yaml")))
def test_vectors_penalty_combinations_and_front_on_every_tiny_model(option, tmp_path):
    session = open_session(tmp_path, f"model={option}", "estimator=correlation")
    assert session.backbone.model.config.model_type == MODEL_TYPES[option]
    vectors = train_vectors(session, log=lambda _metrics, _step: None)
    dependence = Diagnostics(session, vectors, train_independently(session, vectors)).dependence()["pairs"][0]
    assert dependence["estimator"] == "Correlation"
    assert 0 <= dependence["dependence"] < 0.5 * dependence["independent_training"]
    assert all(vector.norm() > 0 for vector in vectors)
    front = find_front(session, vectors, make_rewards(session, vectors), Ledger(tmp_path))
    assert front.n_candidates == 9
    assert front.hypervolume >= front.hypervolume_simplex
    assert all(set(point.scores_held_out) == {"helpful", "harmless"} for point in front.points)
