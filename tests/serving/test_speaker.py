from dataclasses import replace
from itertools import islice

import pytest
import torch

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.data.template import Template
from mva.extrapolation.space import CoefficientSpace
from mva.models.merge import merged
from mva.models.sources.tiny_random import ARCHITECTURES
from mva.policies.merged import MergedPolicy
from mva.serving.speaker import Speaker

PROMPT = user_prompt("How are you?")
SETTINGS = {"greedy": {}, "sampled": {"temperature": 0.8, "top_p": 0.9, "seed": 3}}


def last(speaker, *coefficients):
    return list(speaker.answers(PROMPT, coefficients))[-1]


@pytest.fixture
def by_merged_weights(generate, vectors_of):
    """The oracle: one candidate at a time, its vector merged into the weights."""

    def answer(speaker, *coefficients):
        policy = MergedPolicy().build(speaker.backbone, vectors_of(speaker.backbone), Linear())
        return generate(policy, speaker.backbone, [(coefficients, PROMPT)], speaker.spec)[0]

    return answer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_both_rows_say_what_merged_weights_say(architecture, setting, make_speaker, by_merged_weights):
    speaker = make_speaker(architecture, **setting)
    said = last(speaker, 0.5, 1.0)
    if speaker.spec.temperature == 0:  # when tokens are drawn, little may hang on the vectors
        assert said.candidate != said.base
    assert said.base == by_merged_weights(speaker, 0.0, 0.0)
    assert said.candidate == by_merged_weights(speaker, 0.5, 1.0)


def test_a_vector_alone_is_its_merged_weights_and_differs_from_the_base(speaker, vectors_of, by_merged_weights):
    said = last(speaker, 1.0, 0.0)
    assert said.candidate == by_merged_weights(speaker, 1.0, 0.0) != said.base
    with merged(speaker.backbone, vectors_of(speaker.backbone)[0]) as model:
        ids = model.generate(
            torch.tensor([speaker.backbone.template.prompt_ids(PROMPT)]), max_new_tokens=1, do_sample=False
        )
    first = speaker.backbone.tokenizer.decode(ids[0, -1:]).strip().rstrip("\ufffd")
    assert next(speaker.answers(PROMPT, (1.0, 0.0))).candidate == first


@torch.no_grad()
def test_the_bases_row_is_bit_for_bit_the_base(speaker):
    ids = torch.tensor([speaker.backbone.template.prompt_ids(PROMPT)] * 2)
    base = speaker.backbone.model(ids).logits
    with speaker._policy.rows(torch.tensor([[0.0, 0.0], [1.0, 0.5]])) as model:
        gated = model(ids).logits
    assert torch.equal(gated[0], base[0])
    assert not torch.allclose(gated[1], base[1])


def test_a_coefficient_of_zero_makes_the_candidate_the_base(speaker):
    said = last(speaker, 0.0, 0.0)
    assert said.candidate == said.base


def test_every_token_is_told_as_it_is_spoken(speaker):
    told = list(speaker.answers(PROMPT, (1.0, 1.0)))
    assert [one.tokens for one in told] == list(range(1, len(told) + 1))
    assert told[-1].finished == (True, True)
    assert not any(all(one.finished) for one in told[:-1])


def test_an_answer_ends_before_the_end_of_turn_while_the_other_goes_on(speaker):
    ids = torch.tensor([speaker.backbone.template.prompt_ids(PROMPT)])
    end = int(speaker.backbone.model(ids).logits[0, -1].argmax())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(speaker.backbone.template), "stop_ids", [end])
        told = list(speaker.answers(PROMPT, (1.0, 1.0)))
    assert told[0].finished == (True, False)
    assert [one.base for one in told] == [""] * len(told)
    assert told[-1].candidate != ""


def test_a_closed_answer_leaves_the_bare_base(speaker):
    ids = torch.tensor([[5, 6, 7]])
    base = speaker.backbone.model(ids).logits
    answers = speaker.answers(PROMPT, (1.0, 1.0))
    list(islice(answers, 2))
    answers.close()
    assert torch.equal(speaker.backbone.model(ids).logits, base)


def test_half_a_character_is_not_shown(speaker, monkeypatch):
    class Bytes:
        def decode(self, ids, **_):
            return bytes(ids).decode(errors="replace")

    monkeypatch.setattr("mva.serving.speaker._decode", lambda *_: ([byte] * 2 for byte in "€".encode()))
    backbone = replace(speaker.backbone, template=Template(speaker.backbone.tokenizer), tokenizer=Bytes())
    backbone.template.__dict__["stop_ids"] = []
    monkeypatch.setattr(speaker, "backbone", backbone)
    assert [one.candidate for one in speaker.answers(PROMPT, (1.0, 1.0))] == ["", "", "€"]


def test_a_space_of_other_vectors_is_refused(speaker, vectors_of):
    vectors = vectors_of(speaker.backbone)
    with pytest.raises(ValueError, match="has other vectors"):
        Speaker(speaker.backbone, vectors, CoefficientSpace(("helpful", "honest")), speaker.spec)
