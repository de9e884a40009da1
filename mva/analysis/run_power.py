"""What a single run can tell: how many prompts a difference between two of its candidates needs, and what they cost.

A candidate's reward on a prompt is taken apart into what the prompt does to all candidates, which drops out of
differences, what it does to the difference, and decoding, which only several samples a prompt tell apart:

    V(difference) = (V_prompts + V_decoding / samples) / prompts
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from mva.analysis.costs import Costs, costs_of, prompts_there
from mva.analysis.front_view import FrontView, front_view
from mva.analysis.indicators import indicator_rows
from mva.runs.responses import Answers
from mva.runs.run_folder import RunFiles
from mva.statistics.estimate import Interval, Variance
from mva.statistics.power import detectable, needs
from mva.statistics.rewards import Floats

SAMPLES = (1, 2, 4)


class TooFewPrompts(ValueError):
    """A run whose candidates have too few prompts in common to say anything of differences."""


@dataclass(frozen=True)
class ScorePower:
    """What telling two candidates apart by one value's score takes.

    `difference` is to be detected; `shared` is the share of a score's variance that candidates share, `decoding` that
    of a difference's variance that more samples would take away (None: a single sample a prompt says nothing of it).
    `variance` is that of a difference with today's prompts; `prompts` and `seconds` are by samples a prompt. `worth`:
    scores read off a surface need so many times fewer prompts (None where there is no surface that fits).
    """

    value: str
    difference: float
    shared: float
    decoding: float | None
    variance: Variance
    prompts: Mapping[int, int | None]
    seconds: Mapping[int, float]
    worth: float | None

    def detectable(self, n_prompts: int) -> float:
        """The smallest difference that so many prompts detect with a probability of 80 %, with today's samples."""
        return detectable(self.variance, n_prompts=n_prompts, n_seeds=1)


@dataclass(frozen=True)
class RunPower:
    """What a run can tell.

    `hypervolume` is that of its front on held-out prompts; `hypervolume_prompts` tell it from another run's even where
    the two share nothing. `n_prompts` counts clusters of `per_cluster` prompts where
    prompts come in clusters. `there`: how many validation prompts the data has at most (None: not written down);
    `again`: the seconds of scoring held-out prompts.
    """

    scores: tuple[ScorePower, ...]
    share: float
    n_prompts: int
    per_cluster: float
    n_samples: int
    n_candidates: int
    hypervolume: Interval | None
    hypervolume_prompts: int | None
    there: int | None
    again: float
    costs: Costs

    def affordable(self, seconds: float) -> int:
        """How many validation prompts all candidates can answer in so many seconds, the vectors being there.

        Never more than the data has.
        """
        each = self.n_candidates * self.n_samples * self.per_cluster * self.costs.response
        beside = self.costs.start + self.again
        number = int((seconds - beside) / each) if each > 0 else 0
        return number if self.there is None else min(number, int(self.there / self.per_cluster))


def run_power(run: RunFiles, *, difference: float | None = None) -> RunPower:
    """Say what a run's validation prompts tell of its candidates, and what more of them would take.

    `difference` is what is to be told, as a share of a score's standard deviation over prompts (of the hypervolume for
    the front); None: the run's own `evaluation.smallest_difference`.

    Raises:
        ValueError: If the run has no front yet.
        TooFewPrompts: If fewer than two candidates have three prompts in common, or pairs alone were scored.
    """
    view = front_view(run)
    share = view.front.smallest_difference if difference is None else difference
    if view.front.scored_by == "pairs":
        raise TooFewPrompts(f"{run.folder} was scored by preference pairs: there are no responses to count prompts of.")
    answers = Answers.of(run, [candidate.id for candidate in view.candidates], "validation")
    if len(answers.lines) < 2 or answers.n_independent < 3:
        raise TooFewPrompts(f"{run.folder} has fewer than two candidates with three validation prompts in common.")
    n_samples = min(len(samples) for samples in chain.from_iterable(answers.lines))
    rewards = _rewards(answers, view.values, n_samples)
    per_cluster = answers.n_prompts / answers.n_independent
    costs = costs_of([run])
    volume = indicator_rows(run, view)[0].held_out
    volume = volume if isinstance(volume, Interval) else None
    return RunPower(
        scores=tuple(
            _of_value(view, value, rewards[..., column], share, per_cluster * costs.response)
            for column, value in enumerate(view.values)
        ),
        share=share,
        n_prompts=rewards.shape[1],
        per_cluster=per_cluster,
        n_samples=n_samples,
        n_candidates=len(rewards),
        hypervolume=volume,
        hypervolume_prompts=None if volume is None else _of_two_fronts(volume, share),
        there=prompts_there(run, "validation"),
        again=sum(line["split"] == "test" for line in run.generations) * costs.response,
        costs=costs,
    )


def _rewards(answers: Answers, values: Sequence[str], n_samples: int) -> Floats:
    """The rewards of every sample; clusters of prompts count as prompts. Shape: `(n, prompts, samples, k)`."""
    by_sample = [
        replace(answers, lines=tuple(tuple((samples[number],) for samples in row) for row in answers.lines))
        for number in range(n_samples)
    ]
    return np.stack([each.rewards(values) for each in by_sample], axis=2)


def _of_value(view: FrontView, value: str, rewards: Floats, share: float, seconds: float) -> ScorePower:
    """Shape: `rewards` `(n, prompts, samples)`; `seconds` are those of a candidate's sample on a prompt or cluster."""
    n, n_prompts, n_samples = rewards.shape
    means = rewards.mean(axis=2)
    spread = float(means.var(axis=1, ddof=1).mean())
    of_difference = _between_candidates(means).var(axis=1, ddof=1).mean() * 2 * n / (n - 1)
    decoding = 0.0
    if n_samples > 1:
        decoding = float(_between_candidates(rewards).var(axis=2, ddof=1).mean()) * 2 * n / (n - 1)
    of_prompts = max(float(of_difference) - decoding / n_samples, 0.0)
    wanted = share * spread**0.5
    counts = SAMPLES if n_samples > 1 else (1,)
    planned = {count: _variance(of_prompts + decoding / count, n_prompts) for count in counts}
    prompts = {count: needs(variance, wanted).prompts if wanted else None for count, variance in planned.items()}
    surface = None if view.front.surface is None else view.front.surface.fits.get(value)
    return ScorePower(
        value=value,
        difference=wanted,
        shared=max(0.0, 1 - float(of_difference) / (2 * spread)) if spread else 0.0,
        decoding=decoding / n_samples / float(of_difference) if n_samples > 1 and of_difference else None,
        variance=_variance(float(of_difference), n_prompts),
        prompts=prompts,
        seconds={count: number * count * n * seconds for count, number in prompts.items() if number is not None},
        worth=surface.worth if surface is not None and surface.used else None,
    )


def _between_candidates(rewards: Floats) -> Floats:
    """Take off what all candidates share on each prompt."""
    return np.asarray(rewards - rewards.mean(axis=0))


def _variance(of_one_prompt: float, n_prompts: int) -> Variance:
    return Variance(of_one_prompt / n_prompts, 0.0, 0.0, n_prompts - 1, n_prompts, 1)


def _of_two_fronts(volume: Interval, share: float) -> int | None:
    alone = volume.variance
    apart = Variance(2 * alone.prompts, 0.0, 0.0, alone.df, alone.n_prompts, 1)
    return needs(apart, share * volume.estimate).prompts if volume.estimate > 0 else None
