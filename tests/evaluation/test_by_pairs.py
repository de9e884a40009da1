"""Scores by preference pairs against oracles: merged weights, a vector's own implicit reward, closed forms."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mva.composition.linear import Linear
from mva.data.preference import PreferencePair, user_prompt
from mva.data.tokenization import TokenLimits, tokenize_pair
from mva.evaluation import by_pairs as module
from mva.evaluation.by_pairs import PairEvaluator
from mva.evaluation.evaluator import NonFiniteLogits
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.policies.merged import MergedPolicy
from mva.policies.per_row import PerRowPolicy
from mva.rewards.base import RewardContext
from mva.rewards.implicit import Implicit

LIMITS = TokenLimits(100, 100)
BETA = 0.3
PER_ROW = PerRowPolicy()
TEXTS = {
    "helpful": [("Hi", "Hello.", "Go."), ("Hi", "Good day to you.", ""), ("Why?", "Because.", "No idea at all.")],
    "harmless": [("Steal?", "No.", "Yes, do."), ("Lie?", "Never.", "Sure."), ("Hit?", "No, never.", "Why not?")],
}
PAIRS = {value: [PreferencePair(user_prompt(p), good, bad) for p, good, bad in rows] for value, rows in TEXTS.items()}
CANDIDATES = [
    Candidate({"helpful": x, "harmless": y}) for x, y in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 1.5), (-0.5, 0.7)]
]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def vectors(backbone, vectors_of):
    return [replace(vector, key=f"key-{vector.value}") for vector in vectors_of(backbone)]


@pytest.fixture
def make(backbone, vectors, tmp_path):
    def evaluator(folder="run", *, spec=PER_ROW, body=backbone, pairs=PAIRS, **changes):
        (tmp_path / folder).mkdir(exist_ok=True)
        tokenized = {
            value: [tokenize_pair(pair, body.template, LIMITS) for pair in of_value]
            for value, of_value in pairs.items()
        }
        settings = {
            "split": "validation",
            "beta": BETA,
            "store": Store(tmp_path / "cache"),
            "ledger": Ledger(tmp_path / folder),
            "vector_keys": {vector.value: vector.key for vector in vectors},
        }
        return PairEvaluator(spec.build(body, vectors, Linear()), body, tokenized, **{**settings, **changes})

    return evaluator


@pytest.fixture(autouse=True)
def blocks_of_four(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)


def lines(folder, name="candidates.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


@pytest.mark.parametrize("packed", [True, False])
def test_many_candidates_in_a_batch_score_as_each_alone_in_merged_weights(packed, make, backbone):
    body = replace(backbone, capabilities=replace(backbone.capabilities, packed=packed))
    together = make("together", body=body)(CANDIDATES)
    for candidate, scored in zip(CANDIDATES, together, strict=True):
        (alone,) = make(candidate.id, spec=MergedPolicy())([candidate])
        assert scored.scores == pytest.approx(alone.scores, abs=1e-5)
        assert scored.standard_errors == pytest.approx(alone.standard_errors, abs=1e-5)
        assert scored.accuracies == alone.accuracies


def test_a_vector_alone_scores_by_its_own_implicit_reward(make, backbone, vectors):
    scored = make()(CANDIDATES)[1]
    policy = PerRowPolicy().build(backbone, vectors, Linear())
    keys = {vector.value: vector.key for vector in vectors}
    context = RewardContext("helpful", backbone, None, None, policy, keys)
    reward = Implicit(beta=BETA, limits=LIMITS).build(context)
    for value, pairs in PAIRS.items():
        prompts = [pair.prompt for pair in pairs]
        chosen, rejected = (
            reward.score(prompts, [getattr(pair, side) for pair in pairs]) for side in ("chosen", "rejected")
        )
        margins = (chosen - rejected).tolist()
        assert scored.scores[value] == pytest.approx(np.mean([log_sigmoid(margin) for margin in margins]), abs=1e-5)
        assert scored.accuracies[value] == pytest.approx(np.mean([margin > 0 for margin in margins]))


def test_the_base_has_log_sigmoid_of_0_and_ties_exactly(make, monkeypatch):
    monkeypatch.setattr(module, "log_prob_differences", None)  # nothing is computed for it
    (scored,) = make()(CANDIDATES[:1])
    assert scored.scores == pytest.approx(dict.fromkeys(PAIRS, math.log(0.5)), abs=1e-15)
    assert scored.accuracies == dict.fromkeys(PAIRS, 0.5)
    assert scored.standard_errors == pytest.approx(dict.fromkeys(PAIRS, 0.0), abs=1e-15)


def test_a_prompt_with_two_pairs_counts_once(make, tmp_path):
    (scored,) = make()([CANDIDATES[3]])
    margins = np.array(
        [
            m
            for line in lines(tmp_path / "run", "pair_margins.jsonl")
            if line["value"] == "helpful"
            for m in line["margins"]
        ]
    )
    x = np.array([log_sigmoid(BETA * margin) for margin in margins])
    of_prompts = np.array([x.mean() + 2 / 3 * (x[:2] - x.mean()).sum(), x.mean() + 2 / 3 * (x[2] - x.mean())])
    assert scored.scores["helpful"] == pytest.approx(x.mean())
    assert scored.standard_errors["helpful"] == pytest.approx(of_prompts.std(ddof=1) / 2**0.5)
    assert scored.n_prompts == 2


def test_what_the_ledger_knows_is_not_computed_again(make, tmp_path, monkeypatch):
    first = make()(CANDIDATES)
    before = [(tmp_path / "run" / name).read_text() for name in ("candidates.jsonl", "pair_margins.jsonl")]
    monkeypatch.setattr(module, "log_prob_differences", None)
    again = make()(CANDIDATES)
    assert [(each.candidate, each.scores, each.accuracies) for each in again] == [
        (each.candidate, each.scores, each.accuracies) for each in first
    ]
    assert [(tmp_path / "run" / name).read_text() for name in ("candidates.jsonl", "pair_margins.jsonl")] == before


def test_a_killed_run_goes_on_and_computes_no_margin_twice(make, tmp_path, monkeypatch):
    expected = make("whole")(CANDIDATES)
    computed, plain = [], module.log_prob_differences

    def counted(policy, backbone, pairs, coefficients):
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(len(pairs))
        return plain(policy, backbone, pairs, coefficients)

    monkeypatch.setattr(module, "log_prob_differences", counted)
    with pytest.raises(KeyboardInterrupt):
        make()(CANDIDATES)
    known = sum(len(line["margins"]) for line in lines(tmp_path / "run", "pair_margins.jsonl"))
    assert known == 16  # four blocks: the base's six are no batch of their own
    computed.append(None)
    resumed = make()(CANDIDATES)
    assert sum(filter(None, computed)) == 4 * 6  # every margin of the four adapted candidates, once
    assert [each.scores for each in resumed] == [each.scores for each in expected]
    written = [
        (line["id"], line["value"], line["first"] + k)
        for line in lines(tmp_path / "run", "pair_margins.jsonl")
        for k in range(len(line["margins"]))
    ]
    assert len(written) == len(set(written)) == len(CANDIDATES) * 6


def test_a_candidate_whose_line_alone_was_lost_costs_nothing(make, tmp_path, monkeypatch):
    first = make()(CANDIDATES)
    (tmp_path / "run" / "candidates.jsonl").unlink()
    monkeypatch.setattr(module, "log_prob_differences", None)
    assert [each.scores for each in make()(CANDIDATES)] == [each.scores for each in first]


@pytest.mark.parametrize(
    "change",
    [
        {"beta": 0.2},
        {"split": "test"},
        {"vector_keys": {"helpful": "other", "harmless": "key-harmless"}},
        {"pairs": {**PAIRS, "helpful": PAIRS["helpful"][1:]}},
    ],
)
def test_the_key_holds_what_scores_depend_on(change, make):
    assert make().key != make(**change).key


def test_how_the_policy_is_made_is_no_part_of_the_key(make):
    assert make().key == make(spec=MergedPolicy()).key


def test_a_candidate_that_is_not_finite_fails_and_takes_no_other_along(make, tmp_path):
    broken = Candidate({"helpful": 1e300, "harmless": 0.0})
    evaluator = make()
    scored = evaluator([CANDIDATES[1], broken, CANDIDATES[2]])
    assert [each.candidate for each in scored] == [CANDIDATES[1], CANDIDATES[2]]
    assert [each.scores for each in scored] == [each.scores for each in make("alone")([CANDIDATES[1], CANDIDATES[2]])]
    assert list(evaluator.failed) == [broken.id]
    assert make().failed == evaluator.failed
    with pytest.raises(NonFiniteLogits, match="has no scores"):
        evaluator.rewards_of(broken, "helpful")


def test_what_stands_behind_scores_has_them_as_its_means(make):
    evaluator = make()
    scored = evaluator(CANDIDATES)
    array = evaluator.rewards_array(scored, ["harmless", "helpful"])
    assert array.shape == (5, 5, 2)  # two prompts and three
    for k, each in enumerate(scored):
        assert array[k].mean(axis=0) == pytest.approx([each.scores["harmless"], each.scores["helpful"]])
        assert np.mean(evaluator.rewards_of(each.candidate, "helpful")) == pytest.approx(each.scores["helpful"])
    errors = array.std(axis=1, ddof=1) / 5**0.5
    assert errors[3] == pytest.approx([scored[3].standard_errors["harmless"], scored[3].standard_errors["helpful"]])


def test_a_value_with_pairs_on_one_prompt_is_refused_in_a_sentence(make):
    with pytest.raises(
        ValueError, match=r"'helpful' has validation pairs on 1 prompts, .* evaluation\.by=responses\.$"
    ):
        make(pairs={**PAIRS, "helpful": PAIRS["helpful"][:2]})


def test_the_model_is_the_base_again_afterwards(make, backbone):
    ids = torch.tensor([[1, 2, 3]])
    before = backbone.model(ids).logits
    make()(CANDIDATES)
    make("merged", spec=MergedPolicy())(CANDIDATES)
    assert torch.equal(backbone.model(ids).logits, before)
