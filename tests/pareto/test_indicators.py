import numpy as np
import pytest

from mva.pareto.dominance import NotFinite
from mva.pareto.indicators import Yardstick, additive_epsilon, expected_utility, igd_plus, n_front_points, spread

STAIRCASE = [[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]]
ALL = [
    lambda s: additive_epsilon(s, STAIRCASE),
    lambda s: igd_plus(s, STAIRCASE),
    expected_utility,
    spread,
    n_front_points,
]
NAMES = ["additive_epsilon", "igd_plus", "expected_utility", "spread", "n_front_points"]


def random_sets(n_values, *, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(12, n_values)), generator.normal(size=(9, n_values))


@pytest.mark.parametrize("n_values", [1, 2, 3, 5])
def test_epsilon_and_igd_plus_are_their_definitions_written_out(n_values):
    scores, front = random_sets(n_values)
    epsilon = max(min(max(f - s) for s in scores) for f in front)
    distance = np.mean([min(np.linalg.norm(np.maximum(f - s, 0)) for s in scores) for f in front])
    assert additive_epsilon(scores, front) == pytest.approx(epsilon)
    assert igd_plus(scores, front) == pytest.approx(distance)


def test_one_point_of_a_staircase_misses_the_others_by_a_step():
    # (2, 2) lacks 1 in one value of (3, 1) and of (1, 3): at worst 1, on average 2/3.
    assert additive_epsilon([[2.0, 2.0]], STAIRCASE) == 1
    assert igd_plus([[2.0, 2.0]], STAIRCASE) == pytest.approx(2 / 3)


def test_a_set_that_holds_the_front_misses_nothing_and_one_beyond_it_has_some_to_spare():
    assert additive_epsilon([*STAIRCASE, [0.0, 0.0]], STAIRCASE) == 0
    assert igd_plus([*STAIRCASE, [0.0, 0.0]], STAIRCASE) == 0
    beyond = np.array(STAIRCASE) + 0.5
    assert additive_epsilon(beyond, STAIRCASE) == -0.5
    assert igd_plus(beyond, STAIRCASE) == 0


@pytest.mark.parametrize(
    ("scores", "utility"),
    [
        ([[3.0, 1.0]], 2.0),  # E[w] = 1/2
        ([[1.0, 0.0], [0.0, 1.0]], 0.75),  # E max(w, 1 - w)
        (STAIRCASE, 2.5),  # 1 + 2 E max(w, 1 - w): (2, 2) lies on the line between the others
        ([[1.0, 0.0], [0.0, 1.0], [0.75, 0.75]], 0.8125),  # 3/4 for w in [1/4, 3/4], else 7/8 on average
        ([[5.0], [7.0]], 7.0),
    ],
)
def test_expected_utility_of_one_and_two_values_is_exact(scores, utility):
    assert expected_utility(scores) == pytest.approx(utility, abs=1e-12)


def test_expected_utility_of_two_values_agrees_with_weights_drawn():
    scores, _ = random_sets(2)
    first = np.random.default_rng(1).random(200_000)
    drawn = (np.c_[first, 1 - first] @ scores.T).max(axis=1)
    assert expected_utility(scores) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 200_000**0.5)


@pytest.mark.parametrize("n_values", [3, 4, 5])
def test_expected_utility_of_the_corners_is_the_mean_largest_weight(n_values):
    # E max_i w_i = (1 + 1/2 + ... + 1/k) / k for weights uniform on the simplex.
    expected = sum(1 / i for i in range(1, n_values + 1)) / n_values
    assert expected_utility(np.eye(n_values)) == pytest.approx(expected, abs=0.01)


def test_expected_utility_is_a_function_of_the_seed():
    scores, _ = random_sets(3)
    assert expected_utility(scores, seed=1) == expected_utility(scores, seed=1) != expected_utility(scores, seed=2)


def test_spread_is_the_diagonal_of_the_front_alone():
    assert spread([*STAIRCASE, [-9.0, -9.0]]) == pytest.approx(8**0.5)
    assert spread([[4.0, 4.0], *STAIRCASE]) == 0


def test_front_points_are_counted_once():
    assert n_front_points([*STAIRCASE, [2.0, 2.0], [0.0, 0.0]]) == 3


@pytest.mark.parametrize("n_values", [1, 2, 3])
def test_more_candidates_are_never_worse(n_values):
    scores, more = random_sets(n_values)
    both = np.concatenate([scores, more])
    for indicator in Yardstick.of([scores, more]).indicators():
        if indicator.better != "neither":
            gain = indicator.measure(both) - indicator.measure(scores)
            assert gain >= 0 if indicator.better == "higher" else gain <= 0, indicator.name


@pytest.mark.parametrize("n_values", [2, 3])
def test_dominated_candidates_and_duplicates_change_no_indicator(n_values):
    scores, other = random_sets(n_values)
    padded = np.concatenate([scores, scores[:2], scores[:3] - 1])
    for indicator in Yardstick.of([scores, other]).indicators():
        assert indicator.measure(padded) == pytest.approx(indicator.measure(scores)), indicator.name


def test_a_yardstick_scales_to_the_range_of_all_sets():
    yardstick = Yardstick.of([[[0.0, 100.0], [2.0, 300.0]], [[4.0, 200.0], [1.0, 150.0]]], margin=0.1)
    assert yardstick.low.tolist() == [0.0, 100.0]
    assert yardstick.high.tolist() == [4.0, 300.0]
    assert yardstick.reference_point == pytest.approx([-0.1, -0.1])
    assert yardstick.front.tolist() == [[0.5, 1.0], [1.0, 0.5]]


def test_indicators_on_a_yardstick_by_hand():
    first, second = [[2.0, 300.0]], [[4.0, 200.0], [0.0, 100.0]]
    measured = {i.name: i.measure(first) for i in Yardstick.of([first, second], margin=0.0).indicators()}
    assert measured == pytest.approx(
        {
            "hypervolume": 0.5,  # (0.5, 1) above (0, 0)
            "additive epsilon": 0.5,  # misses (1, 0.5) by 0.5 in the first value
            "IGD+": 0.25,  # 0 and 0.5, on average
            "expected utility": 0.75,
            "spread": 0.0,
            "front points": 1,
        }
    )


def test_the_rewards_units_play_no_part_on_a_yardstick():
    first, second = random_sets(3)
    unit, zero = np.array([0.01, 1.0, 1000.0]), np.array([5.0, 0.0, -70.0])
    plain, changed = Yardstick.of([first, second]), Yardstick.of([first * unit + zero, second * unit + zero])
    for one, other in zip(plain.indicators(), changed.indicators(), strict=True):
        assert one.measure(first) == pytest.approx(other.measure(first * unit + zero)), one.name


def test_a_value_in_which_all_are_alike_says_nothing():
    yardstick = Yardstick.of([[[1.0, 5.0], [3.0, 5.0]]])
    assert yardstick.scale([[2.0, 5.0]]).tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize("indicator", ALL, ids=NAMES)
def test_refuses_what_can_not_be_measured(indicator):
    with pytest.raises(ValueError, match="no scored candidates to measure"):
        indicator([])
    with pytest.raises(NotFinite):
        indicator([[float("nan"), 1.0]])


def test_a_yardstick_needs_candidates():
    for nothing in ([], [[]]):
        with pytest.raises(ValueError, match="no scored candidates"):
            Yardstick.of(nothing)
