"""The dial's page: one self-contained file, and the front that it shows."""

from typing import Any

from mva.analysis.front_view import BASE, front_view
from mva.extrapolation.space import CoefficientSpace
from mva.report.page import render
from mva.runs.run_folder import RunFiles
from mva.serving.speaker import Speaker


def front_data(run: RunFiles) -> dict[str, Any]:
    """List the run's scored candidates (validation prompts, higher is better) as plain data.

    Returns:
        `values` and `candidates` (`id`, `label`, `kind`, `on_front`, `coefficients`, `scores`, `errors`: the scores'
        standard errors); both empty for a run that has no front yet.
    """
    if run.front is None:
        return {"values": [], "candidates": []}
    view = front_view(run)
    candidates = [
        {
            "id": c.id,
            "label": c.label,
            "kind": c.kind,
            "on_front": c.on_front,
            "coefficients": dict(c.coefficients),
            "scores": dict(c.scores),
            "errors": dict(c.errors),
        }
        for c in view.candidates
    ]
    return {"values": list(view.values), "candidates": candidates}


def dial_data(space: CoefficientSpace, front: dict[str, Any]) -> list[dict[str, Any]]:
    """Describe the sliders: `name`, `low`, `high` and where each stands at first: on the middle of the front."""
    on_front = [c for c in front["candidates"] if c["on_front"] and c["kind"] != BASE]
    on_front.sort(key=lambda c: c["scores"][front["values"][0]])
    middle = on_front[len(on_front) // 2]["coefficients"] if on_front else {}
    return [
        {"name": name, "low": low, "high": high, "start": min(max(middle.get(name, (low + high) / 2), low), high)}
        for name, low, high in zip(space.values, space.lower, space.upper, strict=True)
    ]


def render_page(run: RunFiles, speaker: Speaker, front: dict[str, Any]) -> str:
    """Render the page; it asks for nothing but this server's answers."""
    return render(
        "page.html.j2",
        package="mva.serving",
        run=run,
        model=speaker.backbone.name,
        spec=speaker.spec,
        sliders=dial_data(speaker.space, front),
        front=front,
    )
