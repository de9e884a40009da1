"""Short forms of the simulation behind docs/statistics.md."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def calibration():
    sys.path.insert(0, str(ROOT / "experiments"))
    try:
        yield importlib.import_module("interval_calibration")
    finally:
        sys.path.remove(str(ROOT / "experiments"))


def setting(calibration, name):
    return next(setting for setting in calibration.SETTINGS if setting.name == name)


def test_a_better_method_has_the_larger_true_hypervolume(calibration):
    base = calibration.SETTINGS[0]
    for number in range(4):
        equal, better = (
            np.mean([calibration.hypervolume(s, [-1, -1]) for s in calibration.true_fronts(base, number, method)])
            for method in (0, base.n_methods - 1)
        )
        assert 1.1 < better / equal < 1.4


def test_rewards_are_the_truth_with_noise_of_the_prompts(calibration):
    (run, *_), *_ = calibration.table(setting(calibration, "500 prompts"), 0, np.random.default_rng(0))
    error = run.validation.mean(axis=1) - run.truth
    assert np.abs(error).max() < 5 * (1 + 0.8**2) ** 0.5 / 500**0.5
    assert run.held_out.shape == (len(run.front), 500, 2)


def test_the_table_is_written_between_its_marks(calibration, tmp_path, monkeypatch):
    page = tmp_path / "statistics.md"
    page.write_text(f"before\n{calibration.BEGIN}\nyesterday\n{calibration.END}\nafter\n")
    monkeypatch.setattr(calibration, "DOCS", page)
    monkeypatch.setattr(sys, "argv", ["x", "--tables", "4", "--only", "9 candidates", "--write"])
    calibration.main()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| 9 candidates | 4 |" in text
    assert "yesterday" not in text


def test_the_page_has_a_row_for_every_setting(calibration):
    rows = [line.split("|")[1].strip() for line in calibration.DOCS.read_text().splitlines() if line.startswith("|")]
    assert [setting.name for setting in calibration.SETTINGS if setting.name not in rows] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["24 prompts, 3 seeds, 25 candidates, 2 values", "12 prompts, 5 seeds", "skewed"])
def test_intervals_verdicts_and_probabilities_are_calibrated(calibration, name):
    row = calibration.summary(calibration.simulate(setting(calibration, name), 60))
    # 60 tables of six methods: three standard errors of a share, whose runs share their prompts, are about 9 points.
    for share in ("run covers", "mean covers", "pair, equal: covers", "table, equal: covers", "table, better: covers"):
        assert row[share] >= 0.86, share
    assert row["table, equal: told"] <= 0.1
    assert row["table, better: told"] >= 0.7 * row["table, better: ideal"]
    assert abs(row["bias"]) < max(0.06, abs(row["bias, raw"]))
    assert row["Brier"] < 0.8
    assert row["gap"] < 0.15
