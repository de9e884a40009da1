import numpy as np
import pytest

from mva.evaluation import certainty
from mva.evaluation.answered import Answered
from mva.evaluation.asking import Sample
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front


def test_rewards_are_kept_by_value_and_prompt_until_the_candidate_is_whole():
    p, q = Sample("p", 0), Sample("q", 0)
    answered = Answered(["kind", "brief"], [p, q])
    assert answered.missing("a") == [p, q]
    answered.add("a", q, {"brief": 2.0, "kind": 1.0})
    assert answered.missing("a") == [p]
    assert not answered.whole("a")
    answered.add("a", p, {"kind": 3.0, "brief": 4.0})
    answered.add("a", q, {"kind": 5.0, "brief": 6.0})  # read again from the ledger: the last line counts
    assert answered.whole("a")
    assert not answered.whole("b")
    np.testing.assert_array_equal(answered.rewards("a"), [[3.0, 5.0], [4.0, 6.0]])


def test_the_samples_of_a_prompt_are_averaged():
    samples = [Sample(prompt, number) for prompt in "pq" for number in range(3)]
    answered = Answered(["kind"], samples)
    for reward, sample in enumerate(samples[:-1]):
        answered.add("a", sample, {"kind": float(reward)})
    assert answered.missing("a") == [Sample("q", 2)]
    answered.add("a", samples[-1], {"kind": 11.0})
    np.testing.assert_array_equal(answered.rewards("a"), [[1.0, (3 + 4 + 11) / 3]])


def test_disagreement_is_averaged_once_every_response_has_one():
    p, q = Sample("p", 0), Sample("q", 0)
    answered = Answered(["kind", "brief"], [p, q], ["brief"])
    rewards = {"kind": 0.0, "brief": 0.0}
    answered.add("a", p, rewards, {"brief": 0.2})
    assert answered.mean_disagreement("a") == {}
    answered.add("a", q, rewards, {"brief": 0.6})
    assert answered.mean_disagreement("a") == {"brief": pytest.approx(0.4)}
    answered.add("b", p, rewards, {"brief": 0.2})
    answered.add("b", q, rewards)
    assert answered.whole("b")
    assert answered.mean_disagreement("b") == {}


@pytest.mark.parametrize("n", [400, 401])
def test_a_front_too_large_to_be_drawn_has_no_probabilities_instead_of_wrong_ones(n, monkeypatch):
    values = ("kind", "brief")
    scored = [
        ScoredCandidate(
            Candidate({"kind": k / n, "brief": 0.0}),
            {"kind": float(k), "brief": -float(k)},
            dict.fromkeys(values, 1.0),
            2,
        )
        for k in range(n)
    ]
    front = select_front(scored, values=values)
    assert len(front.points) == n

    def drawn(*_arguments):
        raise InterruptedError

    monkeypatch.setattr(certainty, "membership", drawn)
    evaluator = type("Evaluator", (), {"rewards_array": lambda *_: None})()
    if n == 400:
        with pytest.raises(InterruptedError):
            certainty.with_certainty(front, scored, evaluator, scored, evaluator)
    else:
        assert certainty.with_certainty(front, scored, evaluator, scored, evaluator) is front
