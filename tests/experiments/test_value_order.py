"""Orders of values against numbers found by hand."""

import pytest

from mva.runs.sweep_folder import Outcome

FIRST, SECOND = ("helpful", "harmless"), ("harmless", "helpful")
T_OF_TWO_SEEDS = 12.7062


@pytest.fixture
def write_job(tmp_path, write_scored_run):
    def write(seed, values, scores, **more):
        override = f"value.names=[{','.join(values)}]"
        folder = write_scored_run(tmp_path / f"{override},seed={seed}", values, scores, seed=seed, **more)
        Outcome("run", 2 * seed + (values == SECOND), [override, f"seed={seed}"], "hash", "finished", 3.0, 0.5).write(
            folder
        )

    return write


@pytest.fixture
def two_seeds(write_job):
    """In seed 0 the second order gains 1 for helpful alone, in seed 1 it gains 2; harmless alone stays the same."""
    for seed, gain in ((0, 1.0), (1, 2.0)):
        write_job(seed, FIRST, {(0, 0): (0, 0), (1, 0): (1, 0), (0, 1): (0, 1), (1, 1): (1, 1)}, dependence=0.3)
        # Coefficients and scores of harmless come first here.
        best = 1 + gain
        write_job(seed, SECOND, {(0, 0): (0, 0), (0, 1): (0, best), (1, 0): (1, 0), (1, 1): (best, best)}, norm=2.5)


@pytest.mark.usefixtures("two_seeds")
def test_orders_are_measured_from_one_reference_point_a_seed_by_hand(script, tmp_path):
    found = script("value_order").by_order(tmp_path)
    assert set(found) == {FIRST, SECOND}
    # Scores range from 0 to 2 in seed 0 and to 3 in seed 1: the reference points are -0.2 and -0.3.
    assert [found[FIRST][seed]["hypervolume"] for seed in (0, 1)] == pytest.approx([1.2**2, 1.3**2])
    assert [found[SECOND][seed]["hypervolume"] for seed in (0, 1)] == pytest.approx([2.2**2, 3.3**2])
    assert found[SECOND][1]["hypervolume, held out"] == pytest.approx(3.3**2)
    assert found[FIRST][0]["dependence (Correlation)"] == 0.3
    assert found[SECOND][0]["helpful: score alone"] == 2.0
    assert found[SECOND][0]["harmless: score alone"] == 1.0
    assert found[SECOND][0]["helpful: norm"] == 2.5


@pytest.mark.usefixtures("two_seeds")
def test_differences_are_paired_by_seed_by_hand(script, tmp_path):
    value_order = script("value_order")
    found = value_order.by_order(tmp_path)
    differences = value_order.differences(found[FIRST], found[SECOND])
    assert differences["helpful: score alone"] == pytest.approx((1.5, T_OF_TWO_SEEDS * 0.5), rel=1e-4)
    assert differences["harmless: score alone"] == pytest.approx((0.0, 0.0))
    assert differences["harmless: norm"] == pytest.approx((1.5, 0.0))


@pytest.mark.usefixtures("two_seeds")
def test_the_table_calls_real_what_no_seed_doubts(script, tmp_path):
    value_order = script("value_order")
    columns = [list(column.cells) for column in value_order.table(value_order.by_order(tmp_path)).columns]
    told = dict(zip(columns[0], columns[-1], strict=True))
    assert told["harmless: norm"] == "+1.5 ± 0 (real)"
    assert told["helpful: score alone"] == "+1.5 ± 6.4"


@pytest.mark.usefixtures("two_seeds")
def test_a_seed_that_lacks_an_order_is_left_out(script, tmp_path, write_job):
    write_job(2, FIRST, {(1, 0): (1, 0), (0, 1): (0, 1)})
    assert list(script("value_order").by_order(tmp_path)[FIRST]) == [0, 1]


def test_a_single_order_is_refused(script, tmp_path, write_job):
    write_job(0, FIRST, {(1, 0): (1, 0), (0, 1): (0, 1)})
    with pytest.raises(ValueError, match="needs at least two orders of the same values"):
        script("value_order").by_order(tmp_path)


@pytest.mark.usefixtures("two_seeds")
def test_the_figure_has_a_line_a_seed(script, tmp_path):
    value_order = script("value_order")
    first, *_ = value_order.draw(value_order.by_order(tmp_path)).axes
    assert [line.get_label() for line in first.lines] == ["0", "1"]
