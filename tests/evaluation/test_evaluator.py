import json
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mva.data.preference import prompt_id, user_prompt
from mva.engines.base import Response
from mva.evaluation import evaluator as module
from mva.evaluation.evaluator import Evaluator
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate
from mva.rewards import scorer
from mva.rewards.length import Length
from mva.rewards.scorer import NonFiniteReward

PROMPTS = [user_prompt(text) for text in ("one", "two", "three", "four")]
SPEC = GenerationSpec(max_new_tokens=4, batch_size=1)
EARLIER_KEY = (
    "ace83034549b3c6c2b2d4756c4cd73b3e0b3814e"  # of this evaluation, from before there were samples and clusters
)
CANDIDATES = [Candidate({"kind": x, "brief": y}) for x, y in [(1.0, 0.0), (0.0, 1.0), (2.0, 3.0)]]


@dataclass
class Parrot:
    """A responder that says "word" as often as the coefficients and the prompt's number tell, and answers three requests in reverse."""

    values: tuple = ("kind", "brief")
    noise: str = "none"
    asked: list = field(default_factory=list)
    dies_after: float = float("inf")

    def answer(self, requests, decoding):
        requests = list(requests)
        for start in range(0, len(requests), 3):
            for request in reversed(requests[start : start + 3]):
                if len(self.asked) >= self.dies_after:
                    raise KeyboardInterrupt
                self.asked.append(request)
                yield Response(request.id, (1,) * int(sum(request.coefficients) + PROMPTS.index(request.dialogue)))


@dataclass
class Counting:
    """A reward that remembers what it was asked."""

    key: str = "counting"
    asked: list = field(default_factory=list)

    def score(self, prompts, responses):
        self.asked += zip(prompts, responses, strict=True)
        return torch.tensor([2.0 * len(r.split()) for r in responses])


@pytest.fixture
def parrot():
    return Parrot()


@pytest.fixture(autouse=True)
def blocks_of_four(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)


def make_evaluator(folder, parrot, **changes):
    template = SimpleNamespace(
        key="template", tokenizer=SimpleNamespace(chat_template=None), stop_ids=[0], prompt_ids=lambda _dialogue: [5]
    )
    tokenizer = SimpleNamespace(decode=lambda ids, **_: "word " * len(ids))
    backbone = SimpleNamespace(fingerprint="base", name="base", template=template, tokenizer=tokenizer)
    settings = {
        "prompts": PROMPTS,
        "split": "validation",
        "generation": SPEC,
        "ledger": Ledger(folder),
        "vector_keys": {"kind": "k1", "brief": "k2"},
    }
    rewards = changes.pop("rewards", {"kind": Length(), "brief": Length(sign=-1)})
    return Evaluator(parrot, backbone, rewards, **{**settings, **changes})


def test_scores_are_means_and_standard_errors_by_hand(tmp_path, parrot):
    (scored,) = make_evaluator(tmp_path, parrot)([CANDIDATES[0]])
    # Words: 1, 2, 3, 4. Mean 2.5; variance with n - 1: 5/3.
    assert scored.scores == {"kind": 2.5, "brief": -2.5}
    assert scored.standard_errors["kind"] == pytest.approx((5 / 3 / 4) ** 0.5)
    assert scored.n_prompts == 4
    assert scored.split == "validation"
    assert scored.seconds > 0


def test_results_come_in_the_order_of_the_candidates_also_twice(tmp_path, parrot):
    asked = [CANDIDATES[2], CANDIDATES[0], CANDIDATES[2]]
    scored = make_evaluator(tmp_path, parrot)(asked)
    assert [one.candidate for one in scored] == asked
    assert [one.scores["kind"] for one in scored] == [6.5, 2.5, 6.5]
    assert len(parrot.asked) == 8


def test_coefficients_reach_the_policy_in_its_own_order(tmp_path, parrot):
    parrot.values = ("brief", "kind")
    make_evaluator(tmp_path, parrot)([CANDIDATES[2]])
    assert {request.coefficients for request in parrot.asked} == {(3.0, 2.0)}


def test_what_the_ledger_knows_is_not_generated_again(tmp_path, parrot):
    first = make_evaluator(tmp_path, parrot)(CANDIDATES[:2])
    again = make_evaluator(tmp_path, parrot)(CANDIDATES)
    assert [(one.candidate, one.scores) for one in again[:2]] == [(one.candidate, one.scores) for one in first]
    assert len(parrot.asked) == 12
    assert len((tmp_path / "candidates.jsonl").read_text().splitlines()) == 3


def test_a_killed_run_goes_on_where_it_was(tmp_path, parrot):
    (tmp_path / "whole").mkdir()
    expected = make_evaluator(tmp_path / "whole", parrot)(CANDIDATES)
    parrot.asked.clear()
    parrot.dies_after = 9  # two blocks of four, and a response of the third
    with pytest.raises(KeyboardInterrupt):
        make_evaluator(tmp_path, parrot)(CANDIDATES)
    assert len((tmp_path / "candidates.jsonl").read_text().splitlines()) == 2
    parrot.dies_after = float("inf")
    resumed = make_evaluator(tmp_path, parrot)(CANDIDATES)
    assert len(parrot.asked) == 13  # the third block's one response was lost
    assert [one.scores for one in resumed] == [one.scores for one in expected]


def test_a_candidate_whose_line_alone_was_lost_costs_no_generation(tmp_path, parrot):
    first = make_evaluator(tmp_path, parrot)(CANDIDATES)
    (tmp_path / "candidates.jsonl").unlink()
    again = make_evaluator(tmp_path, parrot)(CANDIDATES)
    assert len(parrot.asked) == 12
    assert [one.scores for one in again] == [one.scores for one in first]


def test_equal_responses_to_a_prompt_are_scored_once(tmp_path, parrot):
    counting = Counting()
    twins = [Candidate({"kind": 1.0, "brief": 0.0}), Candidate({"kind": 0.0, "brief": 1.0})]
    scored = make_evaluator(tmp_path, parrot, rewards={"kind": counting})(twins)
    assert len(parrot.asked) == 8
    assert len(counting.asked) == 4
    assert scored[0].scores == scored[1].scores == {"kind": 5.0}
    make_evaluator(tmp_path, parrot, rewards={"kind": counting})([Candidate({"kind": 0.5, "brief": 0.5})])
    assert len(counting.asked) == 4  # also across runs


def test_a_reward_that_is_not_finite_is_refused_by_value_and_prompt(tmp_path, parrot):
    bad = SimpleNamespace(key="bad", score=lambda prompts, responses: torch.tensor([1.0, float("nan"), 1.0, 1.0]))
    with pytest.raises(NonFiniteReward, match=r"reward of 'kind' is nan .*'two'"):
        make_evaluator(tmp_path, parrot, rewards={"kind": bad})([CANDIDATES[0]])
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
def test_another_evaluation_starts_anew(tmp_path, parrot, change):
    make_evaluator(tmp_path, parrot)(CANDIDATES[:1])
    parrot.asked.clear()
    make_evaluator(tmp_path, parrot, **change)(CANDIDATES[:1])
    assert parrot.asked


def test_the_batch_size_is_no_part_of_the_evaluation(tmp_path, parrot):
    other = make_evaluator(tmp_path, parrot, generation=replace(SPEC, batch_size=32))
    assert make_evaluator(tmp_path, parrot).key == other.key


def test_the_bar_runs_over_the_missing_responses(tmp_path, parrot):
    seen = []

    @contextmanager
    def bar(description, total):
        seen.append(total)
        yield seen.append

    make_evaluator(tmp_path, parrot)(CANDIDATES[:1])
    make_evaluator(tmp_path, parrot, bar=bar)(CANDIDATES)
    assert seen == [8, *[1] * 8]


def test_repeated_prompts_count_once_and_one_prompt_is_refused(tmp_path, parrot):
    (scored,) = make_evaluator(tmp_path, parrot, prompts=[*PROMPTS, *PROMPTS])([CANDIDATES[0]])
    assert scored.n_prompts == 4
    with pytest.raises(ValueError, match="Only 1 distinct validation prompts"):
        make_evaluator(tmp_path, parrot, prompts=PROMPTS[:1] * 3)


def test_memory_does_not_grow_with_the_length_or_number_of_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 256)
    monkeypatch.setattr(scorer, "KNOWN", 256)
    prompts = [user_prompt(f"prompt {k}") for k in range(50)]

    class Talker(Parrot):
        def answer(self, requests, decoding):
            for request in requests:
                yield Response(request.id, (1 + request.id,))

    candidates = [Candidate({"kind": k / 200, "brief": 0.0}) for k in range(200)]
    evaluate = make_evaluator(tmp_path, Talker(), prompts=prompts)
    evaluate.backbone.tokenizer.decode = lambda ids, **_: f"{ids[0]} " + "word " * 200
    evaluate(candidates[:40])  # what does not grow is there
    tracemalloc.start()
    evaluate(candidates)
    grown = tracemalloc.get_traced_memory()[0] / (160 * 50)
    tracemalloc.stop()
    assert grown < 100, f"{grown} bytes a response of 1,000"
    tracemalloc.start()
    again = make_evaluator(tmp_path, Talker(), prompts=prompts)
    again.rewards_of(candidates[7], "kind")
    peak = tracemalloc.get_traced_memory()[1] / (200 * 50)
    tracemalloc.stop()
    assert peak < 300, f"{peak} bytes a response to read them"
    assert again(candidates) == [replace(scored, seconds=round(scored.seconds, 3)) for scored in evaluate(candidates)]


@dataclass
class Seeded(Parrot):
    """A responder whose number of words is the rank of the request's seed among those that it has seen."""

    seeds: list = field(default_factory=list)

    def answer(self, requests, decoding):
        for request in requests:
            self.asked.append(request)
            if request.seed not in self.seeds:
                self.seeds.append(request.seed)
            yield Response(request.id, (1,) * self.seeds.index(request.seed))


def test_each_prompt_has_its_samples_and_the_score_is_the_mean_of_their_means(tmp_path):
    seeded = Seeded()
    (scored, twin) = make_evaluator(tmp_path, seeded, samples=3)(CANDIDATES[:2])
    # Words by prompt: 0 1 2, 3 4 5, 6 7 8, 9 10 11. Means 1, 4, 7, 10; variance with n - 1: 15.
    assert scored.scores["kind"] == twin.scores["kind"] == 5.5  # the same random numbers for all candidates
    assert scored.standard_errors["kind"] == pytest.approx((15 / 4) ** 0.5)
    assert scored.n_prompts == 4
    assert len(set(seeded.seeds)) == 12


def test_the_first_sample_is_that_of_an_evaluation_with_one(tmp_path):
    one_sample, samples = Seeded(), Seeded()
    make_evaluator(tmp_path, one_sample)(CANDIDATES[:1])
    make_evaluator(tmp_path, samples, samples=2)(CANDIDATES[:1])
    assert [request.seed for request in samples.asked[::2]] == [request.seed for request in one_sample.asked]


def test_samples_are_read_again_from_the_ledger_each_in_its_place(tmp_path):
    seeded = Seeded()
    first = make_evaluator(tmp_path, seeded, samples=3)(CANDIDATES[:1])
    (tmp_path / "candidates.jsonl").unlink()
    again = make_evaluator(tmp_path, seeded, samples=3)(CANDIDATES[:1])
    assert len(seeded.asked) == 12
    assert [scored.scores for scored in again] == [scored.scores for scored in first]
    evaluator = make_evaluator(tmp_path, seeded, samples=3)
    assert evaluator.rewards_of(CANDIDATES[0], "kind") == [1.0, 4.0, 7.0, 10.0]


def test_standard_errors_are_over_clusters(tmp_path, parrot):
    labels = dict(zip([prompt_id(prompt) for prompt in PROMPTS], "aabb", strict=True))
    evaluator = make_evaluator(tmp_path, parrot, clusters=labels)
    (scored,) = evaluator(CANDIDATES[:1])
    # Words 1, 2 | 3, 4, deviations from 2.5 add up to -2 and 2: clusters count as 2.5 -+ 2 * 2 / 4.
    assert scored.scores["kind"] == 2.5
    assert scored.n_prompts == 2
    assert scored.standard_errors["kind"] == pytest.approx((2 / 2) ** 0.5)
    assert evaluator.rewards_array([scored], ["kind"])[0, :, 0].tolist() == [1.5, 3.5]
    assert {line.cluster for line in Ledger(tmp_path).generations(evaluator.key)} == {"a", "b"}


def test_one_sample_of_unclustered_prompts_keeps_the_key_of_earlier_ledgers(tmp_path, parrot):
    keys = {
        make_evaluator(tmp_path, parrot, **changes).key
        for changes in (
            {},
            {"samples": 1},
            {"clusters": {}},
            {"samples": 2},
            {"clusters": {prompt_id(p): "a" for p in PROMPTS}},
        )
    }
    assert len(keys) == 3
    assert make_evaluator(tmp_path, parrot).key == EARLIER_KEY


@dataclass
class Unsure(Counting):
    """An ensemble that disagrees by a tenth of a response's words."""

    key: str = "unsure"

    def disagreement(self, prompts, responses):
        return torch.tensor([len(r.split()) / 10 for r in responses])


def test_the_disagreement_of_ensembles_is_a_mean_over_responses_in_the_ledger(tmp_path, parrot):
    rewards = {"kind": Unsure(), "brief": Length(sign=-1)}
    (scored,) = make_evaluator(tmp_path, parrot, rewards=rewards)([CANDIDATES[0]])
    # Words: 1, 2, 3, 4, so that the disagreement is 0.1 to 0.4.
    assert scored.disagreement == {"kind": pytest.approx(0.25)}
    (line,) = map(json.loads, (tmp_path / "candidates.jsonl").read_text().splitlines())
    assert line["disagreement"] == {"kind": pytest.approx(0.25)}
    lines = [json.loads(line) for line in (tmp_path / "generations.jsonl").read_text().splitlines()]
    assert sorted(line["disagreement"]["kind"] for line in lines) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    (again,) = make_evaluator(tmp_path, parrot, rewards=rewards)([CANDIDATES[0]])
    assert again.disagreement == scored.disagreement


def test_rewards_without_an_ensemble_leave_no_trace_of_one(tmp_path, parrot):
    (scored,) = make_evaluator(tmp_path, parrot)([CANDIDATES[0]])
    assert scored.disagreement == {}
    assert "disagreement" not in (tmp_path / "candidates.jsonl").read_text()
    assert "disagreement" not in (tmp_path / "generations.jsonl").read_text()


def test_responses_of_a_version_that_measured_none_give_no_disagreement(tmp_path, parrot):
    parrot.dies_after = 6  # the last block of CANDIDATES[1] is missing
    old = {"kind": Counting(key="unsure"), "brief": Length(sign=-1)}
    with pytest.raises(KeyboardInterrupt):
        make_evaluator(tmp_path, parrot, rewards=old)(CANDIDATES[:2])
    parrot.dies_after = float("inf")
    new = {"kind": Unsure(), "brief": Length(sign=-1)}
    first, second, third = make_evaluator(tmp_path, parrot, rewards=new)(CANDIDATES)
    assert first.disagreement == {}
    assert third.disagreement == {"kind": pytest.approx(np.mean([5, 6, 7, 8]) / 10)}
    assert second.scores["kind"] == pytest.approx(2.0 * np.mean([1, 2, 3, 4]))
