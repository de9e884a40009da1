"""The points of a page's figures, written once: a table of jobs and candidates that all its figures draw from.

A figure of Plotly repeats a point's job, id and hover text in every trace. The page holds each of them once and makes
the arrays when it is opened (`points.js`): a tenth of the size, so that a sweep of 50,000 candidates opens.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from string import digits
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mva.analysis.sweep_view import JointFront
from mva.report.interactive import MOST_SAMPLES
from mva.terminal import visible

MOST_SVG_POINTS = 5000
_LONGEST_SAMPLE = 240
_LONGEST_OF_MANY = 120
_STEPS = 65_535
_OF_TABLE = ("x", "y", "z", "ids", "customdata", "hovertext", "text")
_OF_MARKER = (("marker", "size"), ("marker", "opacity"), ("marker", "line", "width"), ("line", "color"))


def has_many_points(front: JointFront) -> bool:
    """Say whether a front has more candidates than a browser draws quickly with SVG; then it is drawn with WebGL."""
    return sum(len(job.view.candidates) for job in front.jobs) > MOST_SVG_POINTS


def point_table(front: JointFront) -> dict[str, Any]:
    """List the jobs' candidates as plain data.

    Returns:
        `values`; `candidates`: `ids` (see `_joined`), `vectors` (names) and `coefficients` (a column for each vector),
        shared by jobs with the same ones; `jobs`: `name`, `label`, `candidates` (which of those lists), `scores` and
        `errors` (a column for each value), `samples` (by candidate's index). Columns are lists of numbers, packed where
        there are many points (see `_packed`).
    """
    column = _packed if has_many_points(front) else list[float]
    shared: dict[str, int] = {}
    lists: list[dict[str, Any]] = []
    jobs: list[dict[str, Any]] = []
    for number, job in enumerate(front.jobs):
        candidates = job.view.candidates
        coefficients = [[c.coefficients[vector] for c in candidates] for vector in job.view.vectors]
        key = json.dumps([[c.id for c in candidates], job.view.vectors, coefficients])
        if key not in shared:
            shared[key] = len(lists)
            lists.append(
                {
                    "ids": _joined([c.id for c in candidates]),
                    "vectors": list(job.view.vectors),
                    "coefficients": [column([float(f"{omega:g}") for omega in omegas]) for omegas in coefficients],
                }
            )
        jobs.append(
            {
                "name": job.job.name,
                "label": visible(job.label),
                "candidates": shared[key],
                "scores": [column([c.scores[value] for c in candidates]) for value in front.values],
                "errors": [column([c.errors[value] for c in candidates]) for value in front.values],
                "samples": dict(_samples(front, number)),
            }
        )
    return {"values": list(front.values), "candidates": lists, "jobs": jobs}


def without_points(figure: go.Figure, front: JointFront) -> dict[str, Any]:
    """Describe a figure as Plotly's JSON, in which every trace of candidates says which rows of the table it draws.

    `meta.runs` is a list of (job, first candidate, count). Lists of a few distinct numbers (sizes, colours) become
    `{"levels": numbers, "codes": one digit a point}`.
    """
    row = {
        f"{c.id} {number}": (number, k)
        for number, job in enumerate(front.jobs)
        for k, c in enumerate(job.view.candidates)
    }
    plain: dict[str, Any] = json.loads(figure.to_json())
    for trace in plain["data"]:
        if "ids" not in trace or "meta" in trace:
            continue
        trace["meta"] = {"runs": list(_runs([row[name] for name in trace["ids"]]))}
        for name in _OF_TABLE:
            trace.pop(name, None)
        for dimension in trace.get("dimensions", ()):
            dimension.pop("values", None)
        for *path, last in _OF_MARKER:
            node = _inside(trace, path)
            if isinstance(node.get(last), list):
                node[last] = _coded(node[last]) or node[last]
        if has_many_points(front):
            trace["type"] = {"scatter": "scattergl"}.get(trace["type"], trace["type"])
            if "marker" in trace:
                trace["marker"]["symbol"] = "circle"  # other signs take WebGL twice the time
    return plain


def _samples(front: JointFront, number: int) -> Iterator[tuple[int, str]]:
    """Of all candidates where these are few, else of the jobs' own fronts, or else of the joint front alone."""
    job = front.jobs[number]
    everything = sum(len(other.view.candidates) for other in front.jobs) <= MOST_SAMPLES
    length = _LONGEST_OF_MANY if has_many_points(front) else _LONGEST_SAMPLE
    own = sum(len(other.view.on_front) for other in front.jobs) <= MOST_SAMPLES
    for k, (candidate, joint) in enumerate(zip(job.view.candidates, job.joint, strict=True)):
        if everything or (own and candidate.on_front) or joint:
            yield k, visible(candidate.sample[:length])


def _runs(rows: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    places = [(job, k - place, k) for place, (job, k) in enumerate(rows)]
    for _, run in groupby(places, key=lambda place: place[:2]):
        members = list(run)
        yield members[0][0], members[0][2], len(members)


def _inside(trace: Mapping[str, Any], path: Sequence[str]) -> Any:
    node: Any = trace
    for name in path:
        node = node.get(name, {})
    return node


def _joined(ids: Sequence[str]) -> str | list[str]:
    """Write ids of 12 hex digits, as all are that mva gives, as one word; a list of others."""
    return "".join(ids) if all(re.fullmatch("[0-9a-f]{12}", id_) for id_ in ids) else list(ids)


def _coded(numbers: Sequence[float]) -> dict[str, Any] | None:
    """Write at most ten different numbers as one digit each; None where there are more."""
    levels = sorted(set(numbers))
    if len(levels) > len(digits):
        return None
    codes = {number: digits[place] for place, number in enumerate(levels)}
    return {"levels": levels, "codes": "".join(codes[number] for number in numbers)}


def _packed(numbers: Sequence[float]) -> dict[str, Any]:
    """Write numbers in little room: by code, or as 16-bit shares of their range in base64.

    The error is at most 1/131,070 of the range, far below what a figure or three decimals show.
    """
    if coded := _coded(numbers):
        return coded
    low, high = min(numbers), max(numbers)
    steps = np.rint((np.asarray(numbers) - low) / (high - low) * _STEPS).astype("<u2")
    return {"low": low, "high": high, "steps": b64encode(steps.tobytes()).decode()}
