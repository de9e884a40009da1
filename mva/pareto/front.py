"""The Pareto front as users get it (front.json): chosen on validation prompts, re-scored on held-out prompts.

A front that is picked from noisy scores flatters itself: hence the held-out scores and hypervolume, the
standard errors, and how probably each member is non-dominated at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import compress
from typing import Any, Literal

from mva.extrapolation.candidate import ScoredCandidate
from mva.pareto.dominance import Floats, as_scores, non_dominated
from mva.pareto.hypervolume import hypervolume, nadir
from mva.pareto.surface import Scores, SurfaceRecord
from mva.records import SCHEMA_VERSION

SelectBy = Literal["raw", "surface"]
ScoredBy = Literal["responses", "pairs"]
SMALLEST_DIFFERENCE = 0.05
"""The share of a hypervolume below which a difference does not matter, unless the user says otherwise."""


@dataclass(frozen=True)
class FrontPoint:
    """A non-dominated candidate; every mapping is by value name.

    `membership_probability` is how probably it is non-dominated in truth (`mva.statistics.membership`); None: unknown.
    """

    id: str
    coefficients: Mapping[str, float]
    composition: str
    scores: Scores
    standard_errors: Scores
    membership_probability: float | None = None
    scores_held_out: Scores | None = None
    standard_errors_held_out: Scores | None = None


@dataclass(frozen=True)
class BaseScores:
    """The scores of the base model: the candidate whose coefficients are all zero."""

    id: str
    scores: Scores
    scores_held_out: Scores | None = None


@dataclass(frozen=True)
class Bounds:
    """A number of the true scores with its 95 % interval over prompts (`mva.statistics`)."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Front:
    """The non-dominated candidates with their indicators, sorted by the first value's score.

    `hypervolume` is that of the scores on validation prompts, `hypervolume_simplex` that of the convex combinations
    alone (None if none was scored), whose own front are the candidates `simplex`. `..._held_out` are those of the same
    points' scores on held-out prompts. All are measured from the one `reference_point`, in the rewards' own units
    (`score_scaling` none). These are the raw numbers, which take the best of noisy scores; `hypervolume_held_out_true`
    estimates that of the true scores. `smallest_difference` is the share of a hypervolume that matters to the user.
    `surface` holds scores read off a surface (None: there is none), and `select_by` says by which scores a candidate is
    chosen from the front; which candidates are on the front is decided by the raw ones. `scored_by` says what they are:
    mean rewards of responses, or of preference pairs the mean `log sigmoid` of the implicit reward's margin.
    """

    values: tuple[str, ...]
    reference_point: Scores
    reference_point_rule: str
    hypervolume: float
    hypervolume_simplex: float | None
    n_candidates: int
    base: BaseScores | None
    points: tuple[FrontPoint, ...]
    hypervolume_held_out: float | None = None
    simplex: tuple[str, ...] = ()
    hypervolume_simplex_held_out: float | None = None
    score_scaling: Literal["none"] = "none"
    hypervolume_held_out_true: Bounds | None = None
    smallest_difference: float = SMALLEST_DIFFERENCE
    surface: SurfaceRecord | None = None
    select_by: SelectBy = "raw"
    scored_by: ScoredBy = "responses"

    @property
    def to_score_again(self) -> set[str]:
        """The candidates that held-out prompts are for: the front, the simplex's front, and the base."""
        return {*(point.id for point in self.points), *self.simplex, *([self.base.id] if self.base else [])}

    def with_held_out(self, scored: Sequence[ScoredCandidate]) -> "Front":
        """Add the scores on held-out prompts; which points belong to the front does not change.

        Raises:
            ValueError: If a point of the front, or of the simplex's, was not re-scored.
        """
        by_id = {one.candidate.id: one for one in scored}
        needed = dict.fromkeys([*(point.id for point in self.points), *self.simplex])
        if missing := [identifier for identifier in needed if identifier not in by_id]:
            raise ValueError(f"No held-out scores for the front's candidates {', '.join(missing)}: score them too.")
        points = tuple(
            replace(
                point,
                scores_held_out=dict(by_id[point.id].scores),
                standard_errors_held_out=dict(by_id[point.id].standard_errors),
            )
            for point in self.points
        )
        if (base := self.base) is not None and base.id in by_id:
            base = replace(base, scores_held_out=dict(by_id[base.id].scores))
        return replace(
            self,
            points=points,
            base=base,
            hypervolume_held_out=self._volume([by_id[point.id] for point in points]),
            hypervolume_simplex_held_out=self._volume([by_id[one] for one in self.simplex]) if self.simplex else None,
        )

    def with_certainty(self, probabilities: Mapping[str, float], held_out: Bounds) -> "Front":
        """Add how probably each point is non-dominated, by id, and the held-out hypervolume of the true scores."""
        points = tuple(replace(point, membership_probability=probabilities[point.id]) for point in self.points)
        return replace(self, points=points, hypervolume_held_out_true=held_out)

    def _volume(self, scored: Sequence[ScoredCandidate]) -> float:
        reference = [self.reference_point[value] for value in self.values]
        return hypervolume(_matrix([one.scores for one in scored], self.values), reference)

    def to_json(self) -> dict[str, Any]:
        """Describe the front as plain JSON-able data: the content of front.json."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "values": list(self.values)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Front":
        """Read what `to_json` wrote.

        Raises:
            ValueError: If the record is of another schema version.
        """
        if record.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"front.json has schema version {record.get('schema_version')}, but this mva reads "
                f"{SCHEMA_VERSION}: write it anew with mva-report."
            )
        settings = _known(cls, record)
        base = settings.pop("base")
        held_out = settings.pop("hypervolume_held_out_true", None)
        surface = settings.pop("surface", None)
        return cls(
            **{
                **settings,
                "values": tuple(settings["values"]),
                "points": tuple(FrontPoint(**_known(FrontPoint, point)) for point in settings["points"]),
                "simplex": tuple(settings.get("simplex", ())),
                "base": None if base is None else BaseScores(**_known(BaseScores, base)),
                "hypervolume_held_out_true": None if held_out is None else Bounds(**_known(Bounds, held_out)),
                "surface": None if surface is None else SurfaceRecord.from_json(surface),
            }
        )


def _known(kind: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """Take the fields that this version knows."""
    return {field.name: record[field.name] for field in fields(kind) if field.name in record}


def select_front(
    scored: Sequence[ScoredCandidate],
    *,
    values: Sequence[str],
    reference_point: Scores | Literal["nadir"] = "nadir",
    margin: float = 0.1,
    smallest_difference: float = SMALLEST_DIFFERENCE,
    select_by: SelectBy = "raw",
    scored_by: ScoredBy = "responses",
) -> Front:
    """Choose the non-dominated candidates. Exact ties are all kept.

    Args:
        scored: All candidates that were scored on the validation prompts.
        values: The values, in the order of the axes.
        reference_point: One number per value, or `nadir` (see `mva.pareto.hypervolume.nadir`).
        margin: Of `nadir`, as a share of the range of the scores.
        smallest_difference: Kept for those who compare the front.
        select_by: Kept for those who choose from it.
        scored_by: What the scores are, see `Front`.

    Raises:
        NotFinite: If a score or a standard error is NaN or infinite.
        ValueError: If nothing was scored, or a value's score or reference is missing.
    """
    if not scored:
        raise ValueError(
            "There are no scored candidates to choose a front from: none was asked for, or all of them failed."
        )
    scores = _matrix([one.scores for one in scored], values)
    _matrix([one.standard_errors for one in scored], values)
    if reference_point == "nadir":
        point, rule = nadir(scores, margin=margin), f"nadir: worst score minus {margin:g} of the range"
    else:
        point, rule = _matrix([reference_point], values)[0], "explicit"
    simplex = [i for i, one in enumerate(scored) if one.candidate.convex]
    chosen, convex = _front_of(scores, range(len(scored))), _front_of(scores, simplex)
    return Front(
        values=tuple(values),
        reference_point=dict(zip(values, point.tolist(), strict=True)),
        reference_point_rule=rule,
        hypervolume=hypervolume(scores, point),
        hypervolume_simplex=hypervolume(scores[simplex], point) if simplex else None,
        n_candidates=len(scored),
        base=_base_scores(scored),
        points=tuple(_front_point(scored[i]) for i in chosen),
        simplex=tuple(scored[i].candidate.id for i in convex),
        smallest_difference=smallest_difference,
        select_by=select_by,
        scored_by=scored_by,
    )


def _front_of(scores: Floats, rows: Sequence[int]) -> list[int]:
    """Which of these rows no other of them dominates, in the order of the first value's score."""
    kept = compress(rows, non_dominated(scores[list(rows)])) if rows else ()
    return sorted(kept, key=lambda row: tuple(scores[row]))


def _matrix(rows: Sequence[Scores], values: Sequence[str]) -> Floats:
    for row in rows:
        missing = [value for value in values if value not in row]
        if missing:
            raise ValueError(f"There is no score for {', '.join(missing)}: only for {', '.join(row) or 'nothing'}.")
    return as_scores([[row[value] for value in values] for row in rows])


def _base_scores(scored: Sequence[ScoredCandidate]) -> BaseScores | None:
    base = next((each for each in scored if not any(each.candidate.coefficients.values())), None)
    return None if base is None else BaseScores(base.candidate.id, dict(base.scores))


def _front_point(one: ScoredCandidate) -> FrontPoint:
    return FrontPoint(
        id=one.candidate.id,
        coefficients=dict(one.candidate.coefficients),
        composition=one.candidate.composition,
        scores=dict(one.scores),
        standard_errors=dict(one.standard_errors),
    )
