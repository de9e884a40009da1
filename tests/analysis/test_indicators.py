"""The run page's indicators against numbers found by hand."""

from dataclasses import replace

import pytest

from mva.analysis.front_view import front_view
from mva.analysis.indicators import indicator_rows
from mva.runs.run_folder import read_run


def test_estimates_are_the_fronts_own_numbers_with_hardly_an_interval_where_prompts_agree(run_folder):
    run = read_run(run_folder)
    view = front_view(run)
    rows = {row.name: row for row in indicator_rows(run, view)}
    assert rows["hypervolume"].validation.estimate == pytest.approx(view.front.hypervolume, rel=1e-3)
    assert rows["hypervolume"].validation.raw == pytest.approx(view.front.hypervolume)
    assert rows["hypervolume"].held_out.estimate == pytest.approx(view.front.hypervolume_held_out, rel=1e-3)
    assert rows["front points"].validation == len(view.front.points)
    for name in ("hypervolume", "expected utility"):  # every prompt of the made-up run has the same rewards
        assert rows[name].validation.low == pytest.approx(rows[name].validation.estimate, rel=1e-2)
        assert rows[name].validation.high == pytest.approx(rows[name].validation.estimate, rel=1e-2)
        assert rows[name].validation.n_prompts == 3


def test_of_one_value_a_random_user_gets_the_best_and_there_is_no_spread(tmp_path, make_run_folder):
    run = read_run(make_run_folder(tmp_path / "run", 1))
    rows = {row.name: row for row in indicator_rows(run, front_view(run))}
    assert rows["expected utility"].validation.estimate == pytest.approx(1, abs=1e-3)
    assert rows["spread"].validation == 0
    assert rows["front points"].validation == 1


def test_prompts_that_differ_make_an_interval_and_unknown_rewards_none(tmp_path, make_run_folder):
    run = read_run(make_run_folder(tmp_path / "run", 2))
    shifts = {prompt: k for k, prompt in enumerate(sorted({g["prompt_id"] for g in run.generations}))}
    noisy = [
        {**g, "rewards": {v: r + shifts[g["prompt_id"]] for v, r in g["rewards"].items()}}
        for g in run.generations
        if g["split"] == "validation"
    ]
    (volume, *others) = indicator_rows(replace(run, generations=tuple(noisy)), front_view(run))
    assert volume.validation.low < volume.validation.high
    assert [row.held_out for row in (volume, *others)] == [None] * 4
