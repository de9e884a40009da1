"""What the figures and tables of a front show, computed once, drawn elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mva.analysis.side_costs import SIDE_COSTS, side_costs
from mva.evaluation.ledger import DISAGREEMENT
from mva.extrapolation.candidate import Candidate
from mva.pareto.front import Front
from mva.pareto.hypervolume import hypervolume
from mva.pareto.surface import SurfaceRecord
from mva.runs.responses import first_samples
from mva.runs.run_folder import Record, RunFiles
from mva.statistics.estimate import student

BASE, CORNER, FRONT, OTHER = "base", "single value", "front", "candidate"


@dataclass(frozen=True)
class CandidateView:
    """One candidate as it is drawn: `kind` is base, single value, front or candidate.

    `surface` are its scores read off a surface, with their standard errors, of the values that have one that fits.
    `accuracies` and `accuracies_held_out` are the shares of preference pairs that it agrees with, by value, where pairs
    gave the scores. `side_costs` and `side_costs_held_out` are means over its responses, empty without any.
    """

    id: str
    kind: str
    coefficients: Mapping[str, float]
    scores: Mapping[str, float]
    errors: Mapping[str, float]
    held_out: Mapping[str, float] | None
    on_front: bool
    convex: bool
    sample: str
    n_prompts: int
    composition: str = "linear"
    surface: Mapping[str, float] = field(default_factory=dict)
    surface_errors: Mapping[str, float] = field(default_factory=dict)
    disagreement: Mapping[str, float] = field(default_factory=dict)
    accuracies: Mapping[str, float] = field(default_factory=dict)
    accuracies_held_out: Mapping[str, float] = field(default_factory=dict)
    side_costs: Mapping[str, float] = field(default_factory=dict)
    side_costs_held_out: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The coefficients in words: `helpful 0.5, harmless 1`; `base` where all are zero."""
        return ", ".join(f"{vector} {omega:g}" for vector, omega in self.coefficients.items() if omega) or BASE

    def half_interval(self, value: str) -> float:
        """Half of the score's 95 % interval over prompts (Student's t)."""
        return student(self.n_prompts - 1) * self.errors[value]

    def half_band(self, value: str) -> float:
        """The same of the score read off the surface.

        Raises:
            KeyError: If the value has no surface that fits.
        """
        return student(self.n_prompts - 1) * self.surface_errors[value]


@dataclass(frozen=True)
class FrontView:
    """Everything that is drawn of one run's front; higher is better on every axis."""

    values: tuple[str, ...]
    candidates: tuple[CandidateView, ...]
    front: Front

    @property
    def vectors(self) -> tuple[str, ...]:
        """The names of the vectors that candidates combine: one a value, or one a preference weight (see plans)."""
        return tuple(self.candidates[0].coefficients)

    @property
    def surface_values(self) -> tuple[str, ...]:
        """The values whose scores can be read off a surface."""
        fits = {} if self.front.surface is None else self.front.surface.fits
        return tuple(value for value in self.values if value in fits and fits[value].used)

    def choosing_scores(self, candidate: CandidateView) -> dict[str, float]:
        """The scores that a candidate is chosen by: raw, or read off the surfaces that fit (`evaluation.select_by`)."""
        return {**candidate.scores, **(candidate.surface if self.front.select_by == "surface" else {})}

    @property
    def disagreeing(self) -> tuple[str, ...]:
        """The values whose reward is an ensemble, which may disagree on a candidate's responses."""
        return tuple(
            value for value in self.values if any(value in candidate.disagreement for candidate in self.candidates)
        )

    @property
    def costs(self) -> tuple[str, ...]:
        """The side costs that were measured: all where there are responses, else none."""
        return tuple(SIDE_COSTS) if any(candidate.side_costs for candidate in self.candidates) else ()

    @property
    def on_front(self) -> list[CandidateView]:
        """The front's candidates, in the order of the first value's score."""
        return sorted((c for c in self.candidates if c.on_front), key=lambda c: c.scores[self.values[0]])

    def staircase(self, x: str, y: str) -> tuple[list[float], list[float]]:
        """Corners of the border of what the front dominates (two values), from the reference point on."""
        points = [(c.scores[x], c.scores[y]) for c in self.on_front]
        low_x, low_y = self.front.reference_point[x], self.front.reference_point[y]
        inside = sorted(p for p in points if p[0] > low_x and p[1] > low_y)
        if not inside:
            return [low_x], [low_y]
        xs, ys = [low_x], [inside[0][1]]
        for (px, py), following in zip(inside, [*(p[1] for p in inside[1:]), low_y], strict=True):
            xs += [px, px]
            ys += [py, following]
        return xs, ys


def front_view(run: RunFiles) -> FrontView:
    """Join the ledger's validation scores with the front and a sample response each.

    Raises:
        ValueError: If the run has no front yet.
    """
    if run.front is None:
        raise ValueError(f"{run.folder} has no front.json: the run is not finished; run it again to go on.")
    front, points = run.front, {point.id: point for point in run.front.points}
    samples = _samples(run.generations)
    costs = side_costs(run.generations)
    again = {line["id"]: line.get("accuracies", {}) for line in run.candidates if line["split"] == "test"}
    views = [
        replace(
            _candidate_view(line, points.get(line["id"]), samples.get(line["id"], ""), surface=front.surface),
            accuracies=line.get("accuracies", {}),
            accuracies_held_out=again.get(line["id"], {}),
            side_costs=costs.get((line["id"], "validation"), {}),
            side_costs_held_out=costs.get((line["id"], "test"), {}),
        )
        for line in run.candidates
        if line["split"] == "validation"
    ]
    return FrontView(front.values, tuple(views), front)


def hypervolume_curve(view: FrontView) -> list[float]:
    """Hypervolume of the first 1, 2, ... candidates, in the order of their evaluation."""
    scores = np.array([[c.scores[value] for value in view.values] for c in view.candidates])
    reference = [view.front.reference_point[value] for value in view.values]
    return [hypervolume(scores[: n + 1], reference) for n in range(len(scores))]


def extremes(view: FrontView) -> list[CandidateView]:
    """The base, and of the front each value's best candidate."""

    def best(value: str) -> CandidateView:
        return max(view.on_front, key=lambda c: c.scores[value])

    base = [c for c in view.candidates if c.kind == BASE]
    return list({c.id: c for c in [*base, *map(best, view.values)]}.values())


def side_by_side(run: RunFiles, candidates: Sequence[CandidateView], limit: int = 6) -> list[dict[str, Any]]:
    """Responses of several candidates to the same validation prompts: `prompt` and `responses` by candidate id."""
    by_prompt: dict[str, dict[str, Any]] = {}
    wanted = {candidate.id for candidate in candidates}
    for line in first_samples(run.generations):
        if line["split"] == "validation" and line["id"] in wanted:
            entry = by_prompt.setdefault(line["prompt_id"], {"prompt": line["prompt"][-1]["content"], "responses": {}})
            entry["responses"][line["id"]] = line
    whole = [entry for entry in by_prompt.values() if len(entry["responses"]) == len(wanted)]
    # Prompts that all candidates answer alike teach little: those with the most different answers come first.
    whole.sort(key=lambda entry: -len({line["response"] for line in entry["responses"].values()}))
    return whole[:limit]


def _samples(generations: Sequence[Record]) -> dict[str, str]:
    samples: dict[str, str] = {}
    for line in first_samples(generations):
        if line["split"] == "validation":
            samples.setdefault(line["id"], f"{line['prompt'][-1]['content']}\n-> {line['response']}")
    return samples


def _candidate_view(line: Record, point: Any, sample: str, *, surface: SurfaceRecord | None) -> CandidateView:
    candidate = Candidate(line["coefficients"], line["composition"])
    omegas = list(candidate.coefficients.values())
    kind = FRONT if point else OTHER
    if not any(omegas):
        kind = BASE
    elif sorted(omegas) == [0.0] * (len(omegas) - 1) + [1.0]:
        kind = CORNER
    return CandidateView(
        id=line["id"],
        kind=kind,
        coefficients=candidate.coefficients,
        scores=line["scores"],
        errors=line["standard_errors"],
        held_out=point.scores_held_out if point else None,
        on_front=point is not None,
        convex=candidate.convex,
        sample=sample,
        n_prompts=line["n_prompts"],
        composition=candidate.composition,
        surface={} if surface is None else surface.scores.get(line["id"], {}),
        surface_errors={} if surface is None else surface.standard_errors.get(line["id"], {}),
        disagreement=line.get(DISAGREEMENT, {}),
    )
