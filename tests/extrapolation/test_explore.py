from mva.extrapolation.candidate import ScoredCandidate
from mva.extrapolation.explore import explore
from mva.extrapolation.space import CoefficientSpace

SPACE = CoefficientSpace(("a",))


class Script:
    """A search that asks for given coefficients, turn by turn, and notes what it is told."""

    def __init__(self, *turns):
        self.turns = list(turns)
        self.told = []

    def ask(self):
        return [SPACE.candidate([omega]) for omega in self.turns.pop(0)] if self.turns else []

    def tell(self, scored):
        self.told.append([one.scores["a"] for one in scored])


class Scorer:
    """Score a candidate by its coefficient, and note how often."""

    def __init__(self, *, leave_out=0):
        self.calls = []
        self.leave_out = leave_out

    def __call__(self, candidates):
        omegas = [candidate.coefficients["a"] for candidate in candidates]
        self.calls.append(omegas)
        scored = [ScoredCandidate(c, c.coefficients, {"a": 0.0}, 1) for c in reversed(candidates)]
        return scored[self.leave_out :]


def coefficients(scored):
    return [one.candidate.coefficients["a"] for one in scored]


def test_asks_until_the_search_is_over_and_returns_all_in_order():
    evaluate = Scorer()
    assert coefficients(explore(Script([0.1, 0.2], [0.3]), evaluate)) == [0.1, 0.2, 0.3]
    assert evaluate.calls == [[0.1, 0.2], [0.3]]


def test_an_identical_candidate_is_never_evaluated_twice_but_its_score_is_told_again():
    search, evaluate = Script([0.1, 0.1], [0.2, 0.1 + 1e-9], [0.2]), Scorer()
    assert coefficients(explore(search, evaluate)) == [0.1, 0.2]
    assert evaluate.calls == [[0.1], [0.2]]
    assert search.told == [[0.1, 0.1], [0.2, 0.1], [0.2]]


def test_whoever_watches_sees_each_new_candidate_once():
    seen = []
    explore(Script([0.1, 0.2], [0.2], [0.3]), Scorer(), on_scored=lambda scored: seen.append(coefficients(scored)))
    assert seen == [[0.1, 0.2], [0.3]]


def test_a_search_that_asks_for_nothing_evaluates_nothing():
    evaluate = Scorer()
    assert explore(Script(), evaluate) == []
    assert evaluate.calls == []


def test_a_candidate_that_the_evaluation_leaves_out_failed_and_is_not_evaluated_again():
    scorer = Scorer(leave_out=1)
    scored = explore(Script([0.1, 0.2], [0.1, 0.2]), scorer)
    assert [one.candidate for one in scored] == [SPACE.candidate([0.1])]
