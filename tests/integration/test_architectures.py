"""Every architecture goes the whole way: two vectors, a penalty, combinations, a front."""

from pathlib import Path

import pytest
import trl
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mva import experiment as module
from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.diagnostics import Diagnostics
from mva.evaluation.ledger import Ledger
from mva.models.sources.tiny_random import TinyRandom
from mva.pipeline import find_front, make_rewards, train_independently, train_vectors
from mva.stages import Stages

MODEL_TYPES = {
    "tiny_gemma": "gemma2", "tiny_gpt2": "gpt2", "tiny_gpt_neox": "gpt_neox", "tiny_llama": "llama",
    "tiny_mistral": "mistral", "tiny_opt": "opt", "tiny_qwen": "qwen2", "tiny_gemma3": "gemma3_text", "tiny_llama3": "llama",
    "tiny_olmo2": "olmo2", "tiny_phi3": "phi3", "tiny_qwen3": "qwen3", "tiny_smollm3": "smollm3",
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
    return module.open_session(experiment, experiment.model.load(), data, Stages(folder))


@pytest.mark.parametrize("option", sorted(path.stem for path in (conf_folder() / "model").glob("tiny_*.yaml")))
def test_vectors_penalty_combinations_and_front_on_every_tiny_model(option, tmp_path):
    session = open_session(tmp_path, f"model={option}", "estimator=correlation", "trainer.recipe.steps=24")
    assert session.backbone.model.config.model_type == MODEL_TYPES[option]
    vectors = train_vectors(session, log=lambda _metrics, _step: None)
    dependence = Diagnostics(session, vectors, train_independently(session, vectors)).dependence()["pairs"][0]
    assert dependence["estimator"] == "Correlation"
    assert 0 <= dependence["dependence"] < dependence["independent_training"]
    assert all(vector.norm() > 0 for vector in vectors)
    front = find_front(session, vectors, make_rewards(session, vectors), Ledger(tmp_path))
    assert front.n_candidates == 9
    assert front.hypervolume >= front.hypervolume_simplex
    assert all(set(point.scores_held_out) == {"helpful", "harmless"} for point in front.points)


FAMILIES = {  # the twin, the template that TRL ships for the family, and what its configuration says of it
    "tiny_qwen3": ("qwen3", "qwen3"),
    "tiny_llama3": ("llama3_1", "llama3_1_8b"),
    "tiny_gemma": ("gemma", "gemma2_2b"),
    "tiny_gemma3": ("gemma3", "gemma3_1b"),
    "tiny_phi3": ("phi3", "phi4_mini"),
}


@pytest.mark.parametrize("option", FAMILIES)
def test_a_family_s_twin_trains_and_answers_with_the_family_s_template(option, tmp_path, monkeypatch):
    name, config = FAMILIES[option]
    template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
    plain = TinyRandom.tokenizer

    def with_template(source):
        tokenizer = plain(source)
        tokenizer.bos_token = "<|im_start|>"
        tokenizer.chat_template = template
        return tokenizer

    monkeypatch.setattr(TinyRandom, "tokenizer", with_template)
    settings = OmegaConf.load(conf_folder() / "model" / f"{config}.yaml")
    kwargs = [f"+model.template_kwargs.{key}={value}" for key, value in settings.get("template_kwargs", {}).items()]
    words = [f"model={option}", "data.limits.prompt=400", *kwargs]
    if settings.get("system_as_user"):
        words += ["model.system_as_user=true", "model.system_prompt='Be kind.'"]
    session = open_session(tmp_path, *words, "trainer.recipe.steps=2", "value.names=[helpful]")
    pair = session.tokenized["helpful"].train[0]
    decode, kwargs = session.backbone.tokenizer.decode, session.backbone.template.rendering.template_kwargs
    user = session.backbone.template.rendering.with_system(pair.source.prompt)
    messages = [*(turn._asdict() for turn in user), {"role": "assistant", "content": pair.source.chosen}]
    whole = session.backbone.tokenizer.apply_chat_template(messages, tokenize=False, **kwargs)
    assert whole.startswith(decode(pair.prompt + pair.chosen))
    (vector,) = train_vectors(session, log=lambda _metrics, _step: None)
    assert vector.norm() > 0
    front = find_front(session, [vector], make_rewards(session, [vector]), Ledger(tmp_path))
    assert front.points
