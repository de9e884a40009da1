from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mva.analysis.comparison import compare
from mva.analysis.held_out import NotComparable, held_out_rewards
from mva.report.comparison import comparison_table, draw_comparison
from mva.runs.run_folder import read_run


def shifted(run, by):
    """The same run with every held-out reward of its front changed."""
    lines = [
        {**g, "rewards": {v: r + by for v, r in g["rewards"].items()}} if g["split"] == "test" else g
        for g in run.generations
    ]
    return replace(run, generations=tuple(lines))


@pytest.fixture
def run(tmp_path, make_run_folder):
    return read_run(make_run_folder(tmp_path / "run", 2))


def test_rewards_are_those_of_the_front_on_held_out_prompts(run):
    rewards = held_out_rewards(run, run.front.values)
    assert rewards.shape == (len(run.front.points), 3, 2)
    held_out = [[point.scores_held_out[v] for v in run.front.values] for point in run.front.points]
    np.testing.assert_allclose(rewards.mean(axis=1), held_out)


def test_a_better_method_has_the_better_indicators_and_the_difference_has_its_sign(run):
    found = compare({"plain": [run], "better": [shifted(run, 0.5)]})
    plain, better = found.rows
    assert plain.differences is None
    assert better.indicators["hypervolume"].estimate > plain.indicators["hypervolume"].estimate
    assert better.indicators["IGD+"] == pytest.approx(0, abs=1e-12)
    assert better.differences["hypervolume"].interval.estimate > 0
    assert better.differences["expected utility"].interval.estimate > 0
    assert set(better.differences) == {"hypervolume", "expected utility"}, "others have no interval that holds"


def test_identical_methods_differ_by_nothing(run):
    _, same = compare({"one": [run], "two": [run]}).rows
    assert all(d.interval.estimate == 0 for d in same.differences.values())
    assert same.differences["hypervolume"].verdict.word not in ("better", "worse")


def seeded(run, seed):
    """Seeds differ by far more than methods do: pairing them wrongly can't go unnoticed."""
    return replace(shifted(run, 10 * seed), environment={**run.environment, "seed": seed})


def test_differences_are_paired_by_seed_whatever_the_order_of_the_runs(run):
    first = [seeded(run, seed) for seed in (0, 1, 2)]
    again = [first[2], first[0], first[1]]
    _, same = compare({"first": first, "again": again}).rows
    found = same.differences["hypervolume"].interval
    assert [found.estimate, found.low, found.high] == pytest.approx([0, 0, 0], abs=1e-12)


def test_other_seeds_are_not_held_against_each_other(run):
    _, other = compare({"first": [seeded(run, 0)], "other": [seeded(run, 1)]}).rows
    assert other.differences is None


def test_runs_of_other_rewards_or_prompts_are_refused(run):
    other = replace(run, rewards={v: {**r, "key": "other"} for v, r in run.rewards.items()})
    with pytest.raises(NotComparable, match="different rewards"):
        compare({"a": [run], "b": [other]})
    fewer = replace(run, generations=tuple(g for g in run.generations if "Prompt 2" not in g["prompt"][-1]["content"]))
    with pytest.raises(NotComparable, match="different held-out prompts"):
        compare({"a": [run], "b": [fewer]})


def test_the_table_names_every_method_and_the_figure_draws_every_point(run):
    found = compare({"method=mva": [run, run], "method=ties": [run, run]})
    console = Console(width=240, record=True)
    console.print(comparison_table(found))
    said = console.export_text()
    assert "method=mva" in said
    assert "method=ties" in said
    assert "undecided, needs about" in said
    drawn = draw_comparison(found).axes[0].collections
    assert [len(points.get_offsets()) for points in drawn] == [2 * len(run.front.points)] * 2


def test_a_method_is_charged_for_every_vector_that_it_trains_averaged_over_its_runs(run):
    def trained(*costs):
        vectors = {str(k): {"cost": {"pairs": pairs, "seconds": 2.0 * pairs}} for k, pairs in enumerate(costs)}
        return replace(run, training={"vectors": vectors})

    found = compare({"two": [trained(8, 8), trained(8, 12)], "five": [trained(*[8] * 5)], "old": [run]})
    two, five, old = found.rows
    assert (two.pairs, two.seconds) == (18, 36)
    assert (five.pairs, five.seconds) == (40, 80)
    assert np.isnan(old.pairs)
