"""What a sweep can tell and what it says to do next, on made-up sweeps with known noise."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mva.analysis.sweep_power import sweep_power
from mva.analysis.sweep_view import sweep_view
from mva.report.power_words import sweep_words, time_words
from mva.statistics.power import POWER, power_of


@pytest.fixture
def front(tmp_path, write_noisy_sweep):
    sweep = write_noisy_sweep(tmp_path / "sweep", {"mva": 0.0, "near": 0.3, "alike": 0.01}, of_seeds=0.02)
    (front,) = sweep_view(sweep).fronts
    return front


def printed(front, power, *, minutes=10):
    console = Console(width=80, record=True, file=io.StringIO())
    jobs = tuple(job.job for job in front.jobs)
    console.print(sweep_words(power, jobs, minutes=minutes), crop=False)
    return console.export_text()


def test_plans_tell_what_they_promise_and_no_cheaper_neighbour_does(front):
    power = sweep_power(front, seconds=600)
    for setting in power.settings:
        plan = setting.plan
        assert power_of(setting.variance, power.difference, n_prompts=plan.prompts, n_seeds=plan.seeds) >= POWER
        fewer = power_of(setting.variance, power.difference, n_prompts=plan.prompts - 1, n_seeds=plan.seeds)
        assert fewer < POWER or plan.prompts == power.n_prompts


def test_what_prompts_do_to_both_methods_is_shared(front):
    # Prompts 1 in common, 0.25 alone: most of it drops out of a difference.
    assert all(setting.shared > 0.5 for setting in sweep_power(front, seconds=600).settings)


def test_more_time_decides_more(front):
    expected = []
    for minutes in (30, 120, 1000):
        power = sweep_power(front, seconds=60 * minutes)
        assert all(step.seconds <= 60 * minutes for step in power.steps)
        expected.append(max((step.expected for step in power.steps), default=0.0))
    assert expected == sorted(expected)
    assert expected[-1] > 0


def test_the_steps_are_in_the_order_of_what_they_decide(front):
    steps = sweep_power(front, seconds=60_000).steps
    assert [step.expected for step in steps] == sorted((step.expected for step in steps), reverse=True)
    assert {len(step.settings) for step in steps} == {2, 3}, "all settings, or the pair nearest to a decision"


def test_a_larger_difference_takes_fewer_seeds(front):
    small, large = (sweep_power(front, seconds=600, difference=share) for share in (0.02, 0.2))
    for fine, coarse in zip(small.settings, large.settings, strict=True):
        assert fine.plan is None or fine.plan.seconds >= coarse.plan.seconds


def test_the_words_fit_eighty_columns_and_give_the_command(front):
    power = sweep_power(front, seconds=60_000)
    text = printed(front, power, minutes=1000)
    lines = text.splitlines()
    assert max(len(line) for line in lines if not line.startswith("  mva ")) <= 80
    assert "best spent on" in text
    assert "too short" in printed(front, sweep_power(front, seconds=1.0), minutes=1 / 60)


def test_the_command_of_a_step_repeats_the_sweep_with_more(front):
    power = sweep_power(front, seconds=60_000)
    everything = [step for step in power.steps if len(step.settings) == 3]
    seeds = next(step for step in everything if step.seeds > 3)
    prompts = next(step for step in everything if step.prompts > 24)
    line = f"mva -m method=mva,near,alike seed={','.join(map(str, range(seeds.seeds)))}\n"
    assert line in printed(front, replace(power, steps=(seeds,)))
    line = f"mva -m method=mva,near,alike seed=0,1,2 evaluation.n_test_prompts={prompts.prompts}\n"
    assert line in printed(front, replace(power, steps=(prompts,)))


def test_decided_differences_need_no_more_time(tmp_path, write_noisy_sweep):
    sweep = write_noisy_sweep(tmp_path / "sweep", {"mva": 0.0, "far": 3.0}, of_seeds=0.0)
    (front,) = sweep_view(sweep).fronts
    power = sweep_power(front, seconds=600)
    assert power.steps == ()
    assert "Every difference is decided" in printed(front, power)


def test_one_seed_plans_prompts_alone(tmp_path, write_noisy_sweep):
    sweep = write_noisy_sweep(tmp_path / "sweep", {"mva": 0.0, "near": 0.2}, seeds=(0,))
    (front,) = sweep_view(sweep).fronts
    power = sweep_power(front, seconds=60_000)
    assert {setting.needs.seeds for setting in power.settings} == {None}
    assert all(step.seeds == 1 for step in power.steps)
    assert "One seed" in printed(front, power)


def test_a_sweep_of_one_setting_has_nothing_to_compare(tmp_path, write_noisy_sweep):
    sweep = write_noisy_sweep(tmp_path / "sweep", {"mva": 0.0})
    (front,) = sweep_view(sweep).fronts
    assert sweep_power(front, seconds=600) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(42.4, "42 s"), (600, "10 min"), (5399, "90 min"), (7200, "2.0 h"), (9e6, "2,500.0 h")]
)
def test_a_time_is_said_in_the_unit_that_fits(seconds, words):
    assert time_words(seconds) == words
