"""Short forms of the simulation behind docs/statistics.md."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mva.statistics.estimate import Variance
from mva.statistics.power import POWER, power_of


@pytest.fixture
def calibration(script):
    return script("power_calibration")


def test_promises_of_prompts_for_scores_are_kept(calibration):
    for n_prompts, difference, kind in ((24, 0.4, "normal"), (24, 0.4, "skewed")):
        row = calibration.of_scores(n_prompts, difference, kind, repetitions=400)
        assert 0.72 <= row.detected <= 0.88  # the standard error of a share is 0.02
        assert row.out_of_reach == 0


def test_the_cheapest_numbers_are_enough_and_cost_less_than_seeds_alone(calibration):
    variance = Variance(0.001, 0.02, 0.01, 5, 24, 3)
    prompts, seeds = calibration.cheapest(variance, 0.5)
    alone = calibration.more_seeds(variance, 0.5)
    assert power_of(variance, 0.5, n_prompts=prompts, n_seeds=seeds) >= POWER
    assert seeds * (200 + prompts) <= alone[1] * (200 + alone[0])


def test_what_is_out_of_reach_is_counted_and_not_simulated(calibration):
    row = calibration.of_scores(24, 0.01, "normal", repetitions=20)
    assert row.out_of_reach == 1
    assert np.isnan(row.detected)


def test_real_prompts_are_drawn_so_that_their_mean_is_the_truth(calibration):
    difference = np.random.default_rng(0).normal(0.35, 1.0, 220)
    row = calibration._drawn(difference)
    assert 0.7 <= row.detected <= 0.9
    assert 24 <= row.prompts < 200


def test_two_runs_are_compared_at_their_candidates(calibration):
    first, second = (
        SimpleNamespace(
            front=SimpleNamespace(values=("kind",)),
            generations=[
                {"split": "validation", "id": name, "prompt_id": str(p), "rewards": {"kind": shift + noise}}
                for name, shift in shifts.items()
                for p, noise in enumerate(np.random.default_rng(seed).normal(size=60))
            ],
        )
        for seed, shifts in enumerate(({"a": 1.0, "b": 0.0, "alone": 0.0}, {"a": 0.0, "b": 0.0}))
    )
    rows = calibration.of_runs(first, second)
    ours, theirs = (np.random.default_rng(seed).normal(size=60) for seed in (0, 1))
    sizes = {"kind of a": 1 + ours - theirs, "kind of b": ours - theirs}
    expected = {name: d.mean() / d.std() for name, d in sizes.items() if abs(d.mean() / d.std()) >= 0.2}
    assert {name: size for name, size, _ in rows} == pytest.approx(expected)
    assert "kind of a" in expected


def test_the_page_has_a_row_for_every_setting(calibration):
    table = calibration.DOCS.read_text().partition(calibration.BEGIN)[2].partition(calibration.END)[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert rows[1:] == [*(name for name, *_ in calibration.SCORES), *(row.name for row in calibration.ROWS)]


def test_the_table_is_written_between_its_marks(calibration, tmp_path, monkeypatch):
    page = tmp_path / "statistics.md"
    page.write_text(f"before\n{calibration.BEGIN}\nyesterday\n{calibration.END}\nafter\n")
    monkeypatch.setattr(calibration, "DOCS", page)
    name = calibration.SCORES[0][0]
    monkeypatch.setattr(sys, "argv", ["x", "--repetitions", "4", "--only", name, "--write"])
    calibration.main()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert f"| {name} |" in text
    assert "yesterday" not in text
