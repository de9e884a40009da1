"""What the page needs to let a reader choose: scores, the export command, and responses beside the base's."""

from collections.abc import Mapping
from typing import Any

from mva.analysis.front_view import BASE, CandidateView, FrontView, side_by_side
from mva.report.tables import export_command
from mva.runs.run_folder import RunFiles

MOST_RESPONSES = 1500
"""Of all candidates together, so that the page stays small; with many candidates each shows fewer prompts."""


def chooser(run: RunFiles, view: FrontView) -> dict[str, Any]:
    """List the candidates with their scores, commands and responses to the same prompts, as plain data.

    Returns:
        `values`, `base` (its id, or None), `candidates` (`id`, `label`, `scores`, `surface` (read off a surface, of the
        values that have one), `choosing` (the scores that the sliders go by), `held_out`, `on_front`, `command`),
        `prompts` (`prompt`, `responses`: text and rewards by candidate's id).
    """
    base = next((c.id for c in view.candidates if c.kind == BASE), None)
    n_prompts = max(1, min(6, MOST_RESPONSES // max(1, len(view.candidates))))
    prompts = [
        {"prompt": entry["prompt"], "responses": {c: _answer(line) for c, line in entry["responses"].items()}}
        for entry in side_by_side(run, view.candidates, limit=n_prompts)
    ]
    return {
        "values": list(view.values),
        "base": base,
        "candidates": [_candidate(run, view, c) for c in view.candidates],
        "prompts": prompts,
    }


def _candidate(run: RunFiles, view: FrontView, candidate: CandidateView) -> dict[str, Any]:
    return {
        "id": candidate.id,
        "label": "base" if candidate.kind == BASE else candidate.label,
        "scores": dict(candidate.scores),
        "surface": dict(candidate.surface),
        "choosing": view.choosing_scores(candidate),
        "held_out": None if candidate.held_out is None else dict(candidate.held_out),
        "on_front": candidate.on_front,
        "command": export_command(run, candidate.id),
    }


def _answer(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": line["response"], "rewards": line["rewards"]}
