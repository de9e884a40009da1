"""What a sweep can tell: where the variance of its differences comes from, what decides them, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mva.analysis.comparison import SettingRow, setting_rows
from mva.analysis.costs import Costs, costs_of, held_out_prompts, prompts_there
from mva.analysis.sweep_view import JointFront
from mva.statistics.comparison import Difference
from mva.statistics.estimate import Interval, Variance
from mva.statistics.power import MOST_PROMPTS, POWER, Needs, detectable, least, needs, power_of

MOST_PLANNED_SEEDS = 32


@dataclass(frozen=True)
class Plan:
    """Held-out prompts and seeds that together detect a difference with 80 %, and the seconds that they add."""

    prompts: int
    seeds: int
    seconds: float


@dataclass(frozen=True)
class SettingPower:
    """A setting against the first: `shared` is the share of the prompts' variance that drops out of their difference.

    `detectable` is the difference that today's prompts and seeds detect with 80 %, `needs` and `plan` are for the one
    that is wanted (None: none up to 32 seeds).
    """

    label: str
    difference: Difference
    shared: float
    detectable: float
    needs: Needs
    plan: Plan | None

    @property
    def variance(self) -> Variance:
        """Of the difference, by its sources."""
        return self.difference.interval.variance

    @property
    def undecided(self) -> bool:
        """Whether the verdict is still open."""
        return self.difference.verdict.word == "undecided"


@dataclass(frozen=True)
class Budget:
    """What the next step may take: seconds, and no more held-out prompts than are `there` (None: not written down).

    Where prompts come in clusters of `per_cluster`, all numbers of prompts count clusters.
    """

    costs: Costs
    seconds: float
    there: int | None
    per_cluster: float = 1.0


@dataclass(frozen=True)
class Step:
    """Something to spend the time on: `prompts` held-out prompts and `seeds` seeds for `settings`.

    `expected` is how many of the open differences it decides on average, if they are as large as measured.
    """

    settings: tuple[str, ...]
    prompts: int
    seeds: int
    seconds: float
    expected: float


@dataclass(frozen=True)
class SweepPower:
    """What a joint front's settings tell: against `first`, by `difference` (absolute) of the hypervolume.

    `steps` are what the time is enough for, the best first; `cheapest` is the step that takes least, where it is not.
    """

    first: str
    n_prompts: int
    n_seeds: int
    difference: float
    settings: tuple[SettingPower, ...]
    unlike: tuple[str, ...]
    steps: tuple[Step, ...]
    cheapest: Step | None
    budget: Budget


def sweep_power(front: JointFront, *, seconds: float, difference: float | None = None) -> SweepPower | None:
    """Say what decides the differences of a joint front's settings; None where there is nothing to compare.

    `difference` is what is to be told, as a share of the first setting's hypervolume; None: the runs' own
    `evaluation.smallest_difference`. `seconds` are what the next step may take.
    """
    rows = setting_rows(front)
    compared = [row for row in rows[1:] if row.difference is not None]
    if not compared or rows[0].held_out is None:
        return None
    first = rows[0].held_out
    shares = [job.view.front.smallest_difference for job in front.jobs]
    wanted = (max(shares) if difference is None else difference) * abs(first.estimate)
    runs = [job.run for job in front.jobs]
    there = [number for number in (prompts_there(run, "test") for run in runs) if number is not None]
    per_cluster = held_out_prompts(runs[0]) / first.n_prompts
    costs = costs_of(runs)
    budget = Budget(
        replace(costs, n_again=costs.n_again * per_cluster),
        seconds,
        int(min(there) / per_cluster) if there else None,
        per_cluster,
    )
    settings = tuple(_setting(row, first, wanted, budget.costs) for row in compared)
    possible = _steps(rows[0].label, settings, wanted, budget)
    affordable = [step for step in possible if step.seconds <= seconds and step.expected > 0]
    return SweepPower(
        first=rows[0].label,
        n_prompts=first.n_prompts,
        n_seeds=first.n_seeds,
        difference=wanted,
        settings=settings,
        unlike=tuple(row.label for row in rows[1:] if row.difference is None),
        steps=tuple(sorted(affordable, key=lambda step: -step.expected)),
        cheapest=min(possible, key=lambda step: step.seconds, default=None),
        budget=budget,
    )


def _setting(row: SettingRow, first: Interval, wanted: float, costs: Costs) -> SettingPower:
    assert row.difference is not None
    variance = row.difference.interval.variance
    alone = _of_prompts(first.variance) + (0.0 if row.held_out is None else _of_prompts(row.held_out.variance))
    return SettingPower(
        label=row.label,
        difference=row.difference,
        shared=max(0.0, 1 - _of_prompts(variance) / alone) if alone > 0 else 0.0,
        detectable=detectable(variance, n_prompts=variance.n_prompts, n_seeds=variance.n_seeds),
        needs=needs(variance, wanted) if wanted > 0 else Needs(None, None),
        plan=_plan(variance, wanted, costs),
    )


def _of_prompts(variance: Variance) -> float:
    return variance.prompts + variance.interaction


def _plan(variance: Variance, wanted: float, costs: Costs) -> Plan | None:
    """Find the cheapest numbers, none below today's, that detect the difference between two settings."""
    now_prompts, now_seeds = int(variance.n_prompts), int(variance.n_seeds)
    plans = []
    for seeds in range(now_seeds, MOST_PLANNED_SEEDS + 1) if now_seeds > 1 else (1,):

        def enough(prompts: int, *, seeds: int = seeds) -> bool:
            return power_of(variance, wanted, n_prompts=prompts, n_seeds=seeds) >= POWER

        prompts = least(enough, now_prompts, MOST_PROMPTS)
        if prompts is not None:
            plans.append(Plan(prompts, seeds, 2 * _added(costs, variance, prompts, seeds)))
    return min(plans, key=lambda plan: plan.seconds, default=None)


def _added(costs: Costs, variance: Variance, prompts: int, seeds: int) -> float:
    """What more prompts and seeds cost for one setting; more prompts are answered anew by the seeds that there are."""
    again = costs.job(prompts) * variance.n_seeds if prompts > variance.n_prompts else 0.0
    return again + costs.seed(prompts) * (seeds - variance.n_seeds)


def _steps(first: str, settings: Sequence[SettingPower], wanted: float, budget: Budget) -> list[Step]:
    """More prompts or more seeds, for all settings or for the pair nearest to a decision."""
    undecided = [setting for setting in settings if setting.undecided]
    if not undecided:
        return []
    steps = _steps_of((first, *(setting.label for setting in settings)), undecided, wanted, budget)
    if len(settings) > 1:
        nearest = max(undecided, key=lambda setting: _decided(setting, wanted, *_now(setting)))
        steps += _steps_of((first, nearest.label), [_without_pooling(nearest)], wanted, budget)
    return steps


def _steps_of(labels: tuple[str, ...], undecided: Sequence[SettingPower], wanted: float, budget: Budget) -> list[Step]:
    """The most prompts, and the most seeds, that the time is enough for with these settings; at least one more."""
    now_prompts, now_seeds = _now(undecided[0])
    costs, seconds = budget.costs, budget.seconds
    jobs = len(labels) * now_seeds
    start = jobs * costs.job(0)
    each_prompt = jobs * costs.response * max(costs.n_again, 1)
    each_seed = len(labels) * costs.seed(now_prompts)
    prompts = max(int((seconds - start) / each_prompt), now_prompts + 1) if each_prompt > 0 else now_prompts + 1
    more_seeds = max(int(seconds / each_seed), 1) if each_seed > 0 else 1
    prompts = prompts if budget.there is None else min(prompts, budget.there)
    choices = [(prompts, now_seeds, start + each_prompt * prompts)] if prompts > now_prompts else []
    if now_seeds > 1:
        choices.append((now_prompts, now_seeds + more_seeds, each_seed * more_seeds))
    return [
        Step(labels, n_prompts, n_seeds, taken, sum(_decided(each, wanted, n_prompts, n_seeds) for each in undecided))
        for n_prompts, n_seeds, taken in choices
    ]


def _without_pooling(setting: SettingPower) -> SettingPower:
    """A pair alone has no other differences to pool its seeds' variance with."""
    interval = setting.difference.interval
    alone = replace(interval, variance=replace(interval.variance, df_per_seed=1.0))
    return replace(setting, difference=replace(setting.difference, interval=alone))


def _now(setting: SettingPower) -> tuple[int, int]:
    return int(setting.variance.n_prompts), int(setting.variance.n_seeds)


def _decided(setting: SettingPower, wanted: float, prompts: int, seeds: int) -> float:
    """How probably a difference as large as measured is told, or shown to be smaller than what matters."""
    size = abs(setting.difference.interval.estimate)
    return power_of(setting.variance, max(size, wanted - size), n_prompts=prompts, n_seeds=seeds)
