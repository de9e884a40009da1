"""The shapes of a run folder's records (docs/run_folder.md), and what they have to say about each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mva.records import SCHEMA_VERSION
from mva.shapes import Mismatch, Shape, count, fields, list_of, maybe, named, number, one_of, text, whole

_BY_VALUE = named(number, at_least=1)
_VERSION = {"schema_version": one_of(SCHEMA_VERSION)}


@dataclass(frozen=True)
class RecordShape:
    """A record's fields with their shapes, called as a shape is; fields that it does not name are let through."""

    required: Mapping[str, Shape]
    optional: Mapping[str, Shape]

    @property
    def names(self) -> tuple[str, ...]:
        """The fields beside `schema_version`."""
        return (*self.required, *self.optional)

    def __call__(self, record: Any) -> None:
        """Take the record; see `mva.shapes`."""
        fields({**_VERSION, **self.required}, self.optional)(record)


def _positive(value: Any) -> None:
    number(value)
    if value <= 0:
        raise Mismatch("a number above 0", value)


def _thoughts(value: Any) -> None:
    list_of(text)(value)
    if len(value) != 2:
        raise Mismatch("a list of two marks", value)


_INTERVAL = {"low": number, "high": number}
_AGREEMENT = {"accuracy": number, "n_pairs": count, **_INTERVAL}
_REWARD = fields({"key": text, **_AGREEMENT}, {"kind": text})
_CHECK = fields(
    {
        "value": text,
        "source": text,
        "own": one_of(True, False),
        **_AGREEMENT,
        "left_out": count,
        "length": fields({"prefers": one_of("longer", "shorter"), **_AGREEMENT}),
        "balanced": maybe(fields({"accuracy": number, "n_effective": number, **_INTERVAL})),
        "survives": maybe(number),
    }
)
_COST = fields({"pairs": number, "seconds": number})
_DEPENDENCE = fields(
    {
        "first": text,
        "second": text,
        "estimator": text,
        "view": text,
        "dependence": number,
        "independent_training": number,
        "chance_mean": number,
        "chance_sd": number,
        "z": maybe(number),
    }
)
_PANEL = fields({"chance": number, "modules": named(number)}, {"estimator": text})
_PANELS = fields({"first": text, "second": text, "panels": named(_PANEL, at_least=1)})


def _same_panels(value: Any) -> None:
    list_of(_PANELS)(value)
    for position, pair in enumerate(value):
        if pair["panels"].keys() != value[0]["panels"].keys():
            raise Mismatch("an object with the panels of the first pair", pair["panels"]).inside(position)


_PRESERVED = fields(
    {
        "norm": number,
        "norm_independent": _positive,
        "score": number,
        "score_independent": number,
        "difference": number,
        "n_prompts": count,
        **_INTERVAL,
    },
    {"verdict": text},
)
_VALUE_DATA = fields(
    {
        "counts": fields({"train": count, "validation": count, "test": count}),
    },
    {"longer_is_chosen": number, "problems": named(count), "fingerprint": text},
)
_BOUNDS = fields({"estimate": number, **_INTERVAL})
_POINT = fields(
    {
        "id": text,
        "coefficients": _BY_VALUE,
        "composition": text,
        "scores": _BY_VALUE,
        "standard_errors": _BY_VALUE,
    },
    {
        "membership_probability": maybe(number),
        "scores_held_out": maybe(_BY_VALUE),
        "standard_errors_held_out": maybe(_BY_VALUE),
    },
)
_SURFACE = fields(
    {
        "fits": named(fields({"p_value": number, "used": one_of(True, False), "worth": number})),
        "scores": named(named(number)),
        "standard_errors": named(named(number)),
    }
)
_BASE = fields({"id": text, "scores": _BY_VALUE}, {"scores_held_out": maybe(_BY_VALUE)})

_HOW_MANY = fields({"n_pairs": count, "n_prompts": count})
_PAIRS = fields({"key": text, "validation": _HOW_MANY, "test": _HOW_MANY})
_MACHINE = fields({}, {"cpu": text, "cores": maybe(count), "memory_gb": maybe(number), "accelerator": maybe(text)})
RECORDS: Mapping[str, RecordShape] = {
    "data": RecordShape({"values": named(_VALUE_DATA)}, {"changed": list_of(text)}),
    "dependence": RecordShape({"pairs": list_of(_DEPENDENCE), "norms": named(number)}, {"draws": count}),
    "environment": RecordShape(
        {},
        {
            "seed": whole,
            "git_revision": maybe(text),
            "packages": named(text),
            "python": text,
            "machine": _MACHINE,
        },
    ),
    "front": RecordShape(
        {
            "values": list_of(text, at_least=1),
            "reference_point": _BY_VALUE,
            "reference_point_rule": text,
            "hypervolume": number,
            "hypervolume_simplex": maybe(number),
            "n_candidates": count,
            "base": maybe(_BASE),
            "points": list_of(_POINT, at_least=1),
        },
        {
            "hypervolume_held_out": maybe(number),
            "hypervolume_simplex_held_out": maybe(number),
            "simplex": list_of(text),
            "score_scaling": text,
            "hypervolume_held_out_true": maybe(_BOUNDS),
            "smallest_difference": number,
            "surface": maybe(_SURFACE),
            "select_by": one_of("raw", "surface"),
            "scored_by": one_of("responses", "pairs"),
        },
    ),
    "interference": RecordShape({"pairs": _same_panels}, {}),
    "model": RecordShape({}, {"name": text, "fingerprint": text, "notes": list_of(text), "thoughts": maybe(_thoughts)}),
    "pairs": RecordShape({"beta": number, "values": named(_PAIRS)}, {}),
    "preservation": RecordShape({"values": named(_PRESERVED)}, {}),
    "rewards": RecordShape({"rewards": named(_REWARD)}, {"checks": list_of(_CHECK)}),
    "timings": RecordShape({"stages": list_of(fields({"name": text, "seconds": number}))}, {}),
    "training": RecordShape(
        {}, {"pairs": named(count), "vectors": named(fields({"cost": maybe(_COST)}, {"key": text, "norm": number}))}
    ),
}


def metrics_line(line: Any) -> None:
    """Take a line of `metrics.jsonl`: the step, and numbers by name."""
    fields({"step": count}, {"time": number})(line)
    named(number)(line)


def disagreements(
    front: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]], generations: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Say where a front and its ledger, each of the right shape, do not belong together.

    `front` is the content of front.json, `candidates` and `generations` are lines of the ledger.
    """
    values, by_value = set(front["values"]), {"front.json": front["reference_point"]}
    scored = [*front["points"], *([front["base"]] if front["base"] else [])]
    for record in scored:
        for name in ("scores", "standard_errors", "scores_held_out", "standard_errors_held_out"):
            if record.get(name) is not None:
                by_value[f"{name} of {record['id'][:40]!r} in front.json"] = record[name]
    for line in candidates:
        for name in ("scores", "standard_errors"):
            by_value[f"{name} of {line['id'][:40]!r} in candidates.jsonl"] = line[name]
    for place, numbers in by_value.items():
        if missing := sorted(values - numbers.keys()):
            yield f"{place} lacks {missing[0]!r}"
    if any(not values <= line["rewards"].keys() for line in generations):
        yield "a line of generations.jsonl lacks the reward of a value"
    vectors = {tuple(sorted(line["coefficients"])) for line in (*candidates, *front["points"])}
    if len(vectors) > 1:
        yield "candidates have coefficients of different vectors"
