import numpy as np
import pytest

from mva.statistics.proportions import proportion_interval


def test_without_ties_it_is_wilsons_interval():
    # Wilson 1927, worked by hand with z^2 = 3.841459.
    assert proportion_interval(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert proportion_interval(20, 20) == pytest.approx((20 / (20 + 3.841459), 1.0), abs=1e-6)
    assert proportion_interval(0, 20) == pytest.approx((0.0, 3.841459 / 23.841459), abs=1e-6)


def test_ties_make_it_narrower_and_never_a_point():
    low, high = proportion_interval(50, 100, ties=50)
    wide_low, wide_high = proportion_interval(50, 100)
    assert wide_low < low < 0.5 < high < wide_high
    low, high = proportion_interval(50, 100, ties=100)
    assert low < 0.49
    assert high > 0.51


@pytest.mark.parametrize(("rate", "ties"), [(0.5, 0.0), (0.5, 0.5), (0.7, 0.3), (0.9, 0.1)])
def test_it_covers(rate, ties):
    outcomes = np.random.default_rng(0).multinomial(60, [rate - ties / 2, ties, 1 - rate - ties / 2], size=2000)
    bounds = [proportion_interval(won + tied / 2, 60, ties=tied) for won, tied, _ in outcomes.tolist()]
    assert 0.93 <= np.mean([low <= rate <= high for low, high in bounds]) <= 0.98


def test_nothing_has_no_interval():
    with pytest.raises(ValueError, match="at least one outcome"):
        proportion_interval(0, 0)
