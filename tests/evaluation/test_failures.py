"""A candidate whose logits are not finite has no answer: it is off the front, and the reason is written down."""

import json
from dataclasses import replace

import pytest
import torch

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines.hf import HfResponder
from mva.evaluation.evaluator import Evaluator, NonFiniteLogits
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Ledger, current_lines
from mva.extrapolation.candidate import Candidate
from mva.extrapolation.explore import explore
from mva.extrapolation.space import CoefficientSpace
from mva.models.backbone import load_backbone
from mva.models.coefficient_lora import CoefficientLora
from mva.models.lora import target_modules
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector
from mva.policies.merged import MergedPolicy
from mva.policies.mixture import Mixture
from mva.policies.per_row import PerRowPolicy
from mva.rewards.length import Length
from mva.search.adaptive import Adaptive
from mva.serving.speaker import Speaker

PROMPTS = [user_prompt(text) for text in ("one", "two two", "three")]
SPEC = GenerationSpec(max_new_tokens=5, batch_size=4)
HUGE = 1e35


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), device="cpu")


@pytest.fixture(scope="module")
def vectors(backbone):
    modules = dict(backbone.model.named_modules())
    generator = torch.Generator().manual_seed(0)

    def factor(name):
        weight = modules[name].weight
        shapes = (2, weight.shape[1]), (weight.shape[0], 2)
        return LowRank(*(torch.randn(shape, generator=generator) * 0.3 for shape in shapes), 1.0)

    names = target_modules(backbone.model, "auto")
    return [
        ValueVector(value, {name: factor(name) for name in names}, backbone.fingerprint, key=value)
        for value in ("kind", "brief")
    ]


def policies(backbone, vectors):
    """Policies in which the first vector is so long that its logits overflow."""
    factors = {name: replace(factor, scaling=HUGE) for name, factor in vectors[0].factors.items()}
    vectors = [replace(vectors[0], factors=factors), vectors[1]]
    return {
        "per_row": PerRowPolicy().build(backbone, vectors, Linear()),
        "merged": MergedPolicy().build(backbone, vectors, Linear()),
        "mixture": Mixture(CoefficientLora(backbone, vectors)),
    }


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["per_row", "merged", "mixture"])
def test_answers_from_logits_that_are_not_finite_are_none_and_leave_their_neighbours_alone(
    generate, backbone, vectors, kind, temperature
):
    policy = policies(backbone, vectors)[kind]
    spec = replace(SPEC, temperature=temperature)
    sane = [((0.0, 0.5), prompt) for prompt in PROMPTS]
    broken = [((1.0, 0.5), prompt) for prompt in PROMPTS]
    expected = generate(policy, backbone, sane, spec)
    mixed = [request for couple in zip(broken, sane, strict=True) for request in couple]
    responses = generate(policy, backbone, mixed, spec)
    assert None not in expected
    assert responses[1::2] == expected
    assert responses[::2] == [None] * len(PROMPTS)


def make_evaluator(folder, backbone, vectors, **settings):
    return Evaluator(
        HfResponder(PerRowPolicy().build(backbone, vectors, Linear()), backbone),
        backbone,
        {"kind": Length(1), "brief": Length(-1)},
        **{
            "prompts": PROMPTS,
            "split": "validation",
            "generation": SPEC,
            "ledger": Ledger(folder),
            "vector_keys": {"kind": "k", "brief": "b"},
            **settings,
        },
    )


def at(kind, brief):
    return Candidate({"kind": kind, "brief": brief})


def test_a_failed_candidate_is_recorded_and_never_generated_again(tmp_path, backbone, vectors):
    evaluate = make_evaluator(tmp_path, backbone, vectors)
    scored = evaluate([at(1, 0), at(HUGE, 0), at(0, 1)])
    assert [one.candidate for one in scored] == [at(1, 0), at(0, 1)]
    (reason,) = evaluate.failed.values()
    assert reason == "the model's logits are not finite with these coefficients"
    lines = [json.loads(line) for line in (tmp_path / "candidates.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines if "failed" in line] == [at(HUGE, 0).id]
    answers = (tmp_path / "generations.jsonl").read_text()
    assert at(HUGE, 0).id not in answers

    again = make_evaluator(tmp_path, backbone, vectors)
    again.responder.answer = None  # whoever generates now, fails
    assert [one.candidate for one in again([at(1, 0), at(HUGE, 0), at(0, 1)])] == [at(1, 0), at(0, 1)]
    assert again.failed == evaluate.failed
    with pytest.raises(NonFiniteLogits, match=at(HUGE, 0).id):
        again.rewards_of(at(HUGE, 0), "kind")


def test_a_base_model_that_fails_is_refused(tmp_path, backbone, vectors):
    broken = load_backbone(TinyRandom("llama", hidden_size=32), device="cpu")
    broken.model.get_output_embeddings().weight.data.fill_(float("nan"))
    evaluate = make_evaluator(tmp_path, broken, [replace(v, base=broken.fingerprint) for v in vectors])
    with pytest.raises(NonFiniteLogits, match="tiny-llama without any vector"):
        evaluate([at(0, 0)])


def test_the_searches_end_although_candidates_fail(tmp_path, backbone, vectors):
    evaluate = make_evaluator(tmp_path, backbone, vectors)
    space = CoefficientSpace(("kind", "brief"), minimum=0.0, maximum={"kind": HUGE, "brief": 1.0})
    scored = explore(Adaptive(budget=7, batch=2).start(space, seed=0), evaluate)
    assert len(scored) + len(evaluate.failed) == 7
    assert {at(0, 0).id, at(0, 1).id} <= {one.candidate.id for one in scored}
    assert evaluate.failed


def test_an_exploration_in_which_everything_fails_ends_with_nothing_scored():
    space = CoefficientSpace(("kind", "brief"), minimum=0.0, maximum=1.0)
    assert explore(Adaptive(budget=9).start(space, seed=0), lambda _candidates: []) == []


def test_readers_leave_out_lines_of_other_evaluations(tmp_path, backbone, vectors):
    first = make_evaluator(tmp_path, backbone, vectors)
    first([at(1, 0), at(0, 1)])
    second = make_evaluator(tmp_path, backbone, vectors, vector_keys={"kind": "trained on other data", "brief": "b"})
    second([at(1, 0)])
    for name in ("candidates.jsonl", "generations.jsonl"):
        lines = current_lines(tmp_path, name)
        assert {line["key"] for line in lines} == {second.key}
        assert {line["id"] for line in lines} == {at(1, 0).id}
    first([at(1, 0)])  # nothing to do, and yet it is the current one now
    assert {line["key"] for line in current_lines(tmp_path, "candidates.jsonl")} == {first.key}
    (tmp_path / "evaluations.json").unlink()  # a folder from before: the last line's evaluation counts
    assert {line["key"] for line in current_lines(tmp_path, "candidates.jsonl")} == {second.key}


def test_each_split_has_its_own_current_evaluation(tmp_path, backbone, vectors):
    validation = make_evaluator(tmp_path, backbone, vectors)
    held_out = make_evaluator(tmp_path, backbone, vectors, split="test")
    validation([at(1, 0)])
    held_out([at(1, 0)])
    assert {line["split"] for line in current_lines(tmp_path, "candidates.jsonl")} == {"validation", "test"}


def test_the_dial_says_that_no_more_will_come(backbone, vectors):
    space = CoefficientSpace(("kind", "brief"), minimum=0.0, maximum=HUGE)
    speaker = Speaker(backbone, vectors, space, SPEC)
    *_, last = speaker.answers(PROMPTS[0], (HUGE, 0.0))
    assert last.finished == (True, True)
    assert last.error.startswith("The model's logits are not finite")
    *_, sane = speaker.answers(PROMPTS[0], (0.5, 0.5))
    assert sane.error == ""
