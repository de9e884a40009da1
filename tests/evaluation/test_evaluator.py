from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch

from mva.data.preference import user_prompt
from mva.evaluation import evaluator as module
from mva.evaluation.evaluator import Evaluator, NonFiniteReward
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate
from mva.rewards.length import Length

PROMPTS = [user_prompt(text) for text in ("one", "two", "three", "four")]
SPEC = GenerationSpec(max_new_tokens=4, batch_size=1)
CANDIDATES = [Candidate({"kind": x, "brief": y}) for x, y in [(1.0, 0.0), (0.0, 1.0), (2.0, 3.0)]]


@dataclass
class Speaker:
    """Stands for `generate`: says "word" as often as the coefficients and the prompt's place tell."""

    asked: list = field(default_factory=list)
    dies_after: float = float("inf")

    def __call__(self, policy, backbone, requests, spec, *, advance):
        if len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += requests
        advance(len(requests))
        return ["word " * int(sum(r.coefficients) + PROMPTS.index(r.prompt)) for r in requests]


@dataclass
class Counting:
    """A reward that remembers what it was asked."""

    key: str = "counting"
    asked: list = field(default_factory=list)

    def score(self, prompts, responses):
        self.asked += zip(prompts, responses, strict=True)
        return torch.tensor([2.0 * len(r.split()) for r in responses])


@pytest.fixture
def speaker(monkeypatch):
    speaker = Speaker()
    monkeypatch.setattr(module, "generate", speaker)
    return speaker


def make_evaluator(folder, **changes):
    backbone = SimpleNamespace(
        fingerprint="base", template=SimpleNamespace(key="template", tokenizer=SimpleNamespace(chat_template=None))
    )
    policy = SimpleNamespace(values=("kind", "brief"), mixed_rows=True)
    settings = {
        "prompts": PROMPTS,
        "split": "validation",
        "generation": SPEC,
        "ledger": Ledger(folder),
        "vector_keys": {"kind": "k1", "brief": "k2"},
    }
    rewards = changes.pop("rewards", {"kind": Length(), "brief": Length(sign=-1)})
    return Evaluator(changes.pop("policy", policy), backbone, rewards, **{**settings, **changes})


def test_scores_are_means_and_standard_errors_by_hand(tmp_path, speaker):
    (scored,) = make_evaluator(tmp_path)([CANDIDATES[0]])
    # Words: 1, 2, 3, 4. Mean 2.5; variance with n - 1: 5/3.
    assert scored.scores == {"kind": 2.5, "brief": -2.5}
    assert scored.standard_errors["kind"] == pytest.approx((5 / 3 / 4) ** 0.5)
    assert scored.n_prompts == 4
    assert scored.split == "validation"
    assert scored.seconds > 0


def test_results_come_in_the_order_of_the_candidates_also_twice(tmp_path, speaker):
    asked = [CANDIDATES[2], CANDIDATES[0], CANDIDATES[2]]
    scored = make_evaluator(tmp_path)(asked)
    assert [one.candidate for one in scored] == asked
    assert [one.scores["kind"] for one in scored] == [6.5, 2.5, 6.5]
    assert len(speaker.asked) == 8


def test_coefficients_reach_the_policy_in_its_own_order(tmp_path, speaker):
    policy = SimpleNamespace(values=("brief", "kind"), mixed_rows=True)
    make_evaluator(tmp_path, policy=policy)([CANDIDATES[2]])
    assert {request.coefficients for request in speaker.asked} == {(3.0, 2.0)}


def test_what_the_ledger_knows_is_not_generated_again(tmp_path, speaker):
    first = make_evaluator(tmp_path)(CANDIDATES[:2])
    again = make_evaluator(tmp_path)(CANDIDATES)
    assert [(one.candidate, one.scores) for one in again[:2]] == [(one.candidate, one.scores) for one in first]
    assert len(speaker.asked) == 12
    assert len((tmp_path / "candidates.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("mixed", [True, False])
def test_a_killed_run_goes_on_where_it_was(tmp_path, speaker, mixed):
    policy = SimpleNamespace(values=("kind", "brief"), mixed_rows=mixed)
    spec = replace(SPEC, batch_size=1 if mixed else 64)  # chunks of four rows, either way
    (tmp_path / "whole").mkdir()
    expected = make_evaluator(tmp_path / "whole", policy=policy, generation=spec)(CANDIDATES)
    speaker.asked.clear()
    speaker.dies_after = 8
    with pytest.raises(KeyboardInterrupt):
        make_evaluator(tmp_path, policy=policy, generation=spec)(CANDIDATES)
    assert len((tmp_path / "candidates.jsonl").read_text().splitlines()) == 2
    speaker.dies_after = float("inf")
    resumed = make_evaluator(tmp_path, policy=policy, generation=spec)(CANDIDATES)
    assert len(speaker.asked) == 12
    assert [one.scores for one in resumed] == [one.scores for one in expected]


def test_a_candidate_whose_line_alone_was_lost_costs_no_generation(tmp_path, speaker):
    first = make_evaluator(tmp_path)(CANDIDATES)
    (tmp_path / "candidates.jsonl").unlink()
    again = make_evaluator(tmp_path)(CANDIDATES)
    assert len(speaker.asked) == 12
    assert [one.scores for one in again] == [one.scores for one in first]


def test_equal_responses_to_a_prompt_are_scored_once(tmp_path, speaker):
    counting = Counting()
    twins = [Candidate({"kind": 1.0, "brief": 0.0}), Candidate({"kind": 0.0, "brief": 1.0})]
    scored = make_evaluator(tmp_path, rewards={"kind": counting})(twins)
    assert len(speaker.asked) == 8
    assert len(counting.asked) == 4
    assert scored[0].scores == scored[1].scores == {"kind": 5.0}
    make_evaluator(tmp_path, rewards={"kind": counting})([Candidate({"kind": 0.5, "brief": 0.5})])
    assert len(counting.asked) == 4  # also across runs


def test_a_reward_that_is_not_finite_is_refused_by_value_and_prompt(tmp_path, speaker):
    bad = SimpleNamespace(key="bad", score=lambda prompts, responses: torch.tensor([1.0, float("nan"), 1.0, 1.0]))
    with pytest.raises(NonFiniteReward, match=r"reward of 'kind' is nan .*'two'"):
        make_evaluator(tmp_path, rewards={"kind": bad})([CANDIDATES[0]])
    assert not (tmp_path / "candidates.jsonl").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"vector_keys": {"kind": "new", "brief": "k2"}},
        {"rewards": {"kind": Length(), "brief": Length()}},
        {"prompts": PROMPTS[:3]},
        {"generation": replace(SPEC, max_new_tokens=5)},
        {"split": "test"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_evaluation_starts_anew(tmp_path, speaker, change):
    make_evaluator(tmp_path)(CANDIDATES[:1])
    speaker.asked.clear()
    make_evaluator(tmp_path, **change)(CANDIDATES[:1])
    assert speaker.asked


def test_the_batch_size_is_no_part_of_the_evaluation(tmp_path):
    other = make_evaluator(tmp_path, generation=replace(SPEC, batch_size=32))
    assert make_evaluator(tmp_path).key == other.key


def test_the_bar_runs_over_the_missing_responses(tmp_path, speaker):
    seen = []

    @contextmanager
    def bar(description, total):
        seen.append(total)
        yield seen.append

    make_evaluator(tmp_path)(CANDIDATES[:1])
    make_evaluator(tmp_path, bar=bar)(CANDIDATES)
    assert seen == [8, 4, 4]


def test_repeated_prompts_count_once_and_one_prompt_is_refused(tmp_path, speaker):
    (scored,) = make_evaluator(tmp_path, prompts=[*PROMPTS, *PROMPTS])([CANDIDATES[0]])
    assert scored.n_prompts == 4
    with pytest.raises(ValueError, match="Only 1 distinct validation prompts"):
        make_evaluator(tmp_path, prompts=PROMPTS[:1] * 3)
