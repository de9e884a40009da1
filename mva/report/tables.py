"""The same facts as tables: for the terminal (rich), for CSV and for the page (plain rows)."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mva.analysis.choice import balanced
from mva.analysis.front_view import CandidateView, FrontView
from mva.analysis.limits import Answer
from mva.analysis.pair_agreement import pair_agreement
from mva.analysis.reward_checks import WEAK_REWARD, weakest, weakest_words
from mva.analysis.warnings import warnings
from mva.report.limit_words import answer_lines, short_words
from mva.report.words import accuracy_words, agreement_words, meaning_words, probability_words, score_words
from mva.runs.run_folder import RunFiles
from mva.shell import command_line, override

LINEAR = "linear"


def front_rows(view: FrontView) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the front, in the order of the first value's score; also written as front.csv."""
    values = view.values
    columns = ["id", *(f"{v} coefficient" for v in view.vectors)]
    read_off, by_pairs = view.surface_values, view.front.scored_by == "pairs"
    for v in values:
        columns += [f"{v} {what}" for what in ("score", "standard error", "held-out score")]
        columns += [f"{v} {what}" for what in ("surface score", "surface standard error") if v in read_off]
        columns += [f"{v} {what}" for what in ("accuracy", "held-out accuracy") if by_pairs]
    columns += [f"{v} disagreement" for v in view.disagreeing]
    columns += [name for cost in view.costs for name in (cost, f"held-out {cost}")]
    rows: list[list[object]] = []
    probabilities = {point.id: point.membership_probability for point in view.front.points}
    for c in view.on_front:
        row: list[object] = [c.id, *(c.coefficients[v] for v in view.vectors)]
        for v in values:
            row += [c.scores[v], c.errors[v], None if c.held_out is None else c.held_out[v]]
            row += [c.surface[v], c.surface_errors[v]] if v in read_off else []
            row += [side.get(v) for side in (c.accuracies, c.accuracies_held_out)] if by_pairs else []
        row += [c.disagreement.get(v) for v in view.disagreeing]
        row += [side.get(cost) for cost in view.costs for side in (c.side_costs, c.side_costs_held_out)]
        rows.append([*row, probabilities[c.id]])
    return [*columns, "probability of being non-dominated"], rows


def candidate_rows(view: FrontView) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of all candidates, on validation prompts: raw scores, those read off a surface, side costs.

    Side costs on held-out prompts stand beside, of the candidates that answered them.
    """
    columns = [
        "id",
        "kind",
        "on front",
        *(f"{v} coefficient" for v in view.vectors),
        *(f"{v} score" for v in view.values),
        *(f"{v} {what}" for v in view.surface_values for what in ("surface score", "surface standard error")),
        *(f"{v} disagreement" for v in view.disagreeing),
        *(name for cost in view.costs for name in (cost, f"held-out {cost}")),
    ]
    return columns, [_candidate_row(view, c) for c in view.candidates]


def _candidate_row(view: FrontView, candidate: CandidateView) -> list[object]:
    row: list[object] = [candidate.id, candidate.kind, candidate.on_front]
    row += [candidate.coefficients[v] for v in view.vectors]
    row += [candidate.scores[v] for v in view.values]
    for v in view.surface_values:
        row += [candidate.surface[v], candidate.surface_errors[v]]
    row += [candidate.disagreement.get(v) for v in view.disagreeing]
    sides = (candidate.side_costs, candidate.side_costs_held_out)
    return [*row, *(side.get(cost) for cost in view.costs for side in sides)]


def export_command(run: RunFiles, candidate: str) -> str:
    """Say how to take a candidate along: a line to be copied into a shell."""
    return command_line(export_words(run, candidate))


def export_words(run: RunFiles, candidate: str) -> list[str]:
    """List the words of the export command: program, run, candidate, and the composition if it isn't linear."""
    composition = next((line["composition"] for line in run.candidates if line["id"] == candidate), LINEAR)
    how = [] if composition == LINEAR else [override("composition", composition.split()[0])]
    return ["mva-export", override("run", str(run.folder)), override("candidate", candidate), *how]


def next_steps(run: RunFiles, view: FrontView, answer: Answer | None = None) -> list[str]:
    """Commands to try next."""
    choice = balanced(view) if answer is None else answer.candidate
    why = "best where all values matter alike" if answer is None else short_words(answer)
    explore = command_line(["mva-explore", override("run", str(run.folder))])
    trained = ["mva penalty.strength=0    # what did the penalty buy?"] if run.training else []
    return [
        f"{export_command(run, choice.id)}    # {choice.label}: {why}",
        *trained,
        f"{explore} extrapolation.maximum=1.5    # beyond the box",
    ]


def summary(run: RunFiles, view: FrontView, answer: Answer | None = None) -> RenderableType:
    """Lay out what is said when a run ends: the front, the volumes, the rewards, where things are, what next.

    `answer` is what the user asked for by `select` (None: nothing).
    """
    front = view.front
    parts: list[RenderableType] = [_front_table(view)]
    if front.scored_by == "pairs":
        parts.append(f"Here {meaning_words('pairs')}.")
    volumes = {
        "box": front.hypervolume,
        "simplex (coefficients sum to 1)": front.hypervolume_simplex,
        "box, on held-out prompts": front.hypervolume_held_out,
        "simplex, held-out": front.hypervolume_simplex_held_out,
    }
    true = front.hypervolume_held_out_true
    shown = "   ".join(f"{name} [bold]{volume:.4g}[/]" for name, volume in volumes.items() if volume is not None)
    parts.append(f"Hypervolume: {shown}   ({front.n_candidates} candidates)")
    if true is not None:
        parts.append(
            f"Without the luck of the best: [bold]{true.estimate:.4g}[/] on held-out prompts "
            f"(95 % interval {true.low:.3g} to {true.high:.3g})"
        )
    parts += [escape(line) for line in surface_lines(view)]
    parts += [escape(_reward_line(value, reward)) for value, reward in run.rewards.items()]
    check = weakest(run.reward_checks)
    if check is not None and check["accuracy"] >= WEAK_REWARD:  # else it is a warning
        parts.append(escape(str(weakest_words(run.reward_checks))))
    parts += [escape(agreement_words(agreement)) for agreement in pair_agreement(run)]
    parts += [escape(_dependence_line(pair)) for pair in run.dependence.get("pairs", ())]
    parts += [f"[yellow]Warning:[/] {escape(text)}" for text in warnings(run)]
    parts += [escape(line) for line in answer_lines(answer)] if answer is not None else []
    total = sum(stage["seconds"] for stage in run.stages)
    parts.append(
        "Time: "
        + ", ".join(f"{escape(s['name'])} {s['seconds']:.0f} s" for s in run.stages)
        + f"; {total:.0f} s in all"
    )
    parts.append(f"Everything is in [bold]{escape(str(run.folder))}[/]: report.html, front.json, figures/, adapters/")
    # A command that is to be copied stays on one line, however narrow the terminal.
    parts += ["Next:", *(Text(f"  {step}", no_wrap=True, overflow="ignore") for step in next_steps(run, view, answer))]
    return Group(*parts)


def brief(run: RunFiles, view: FrontView) -> RenderableType:
    """Lay out what is said when a job of a sweep ends: its front in a line, and what a reader must know of it."""
    front = view.front
    held_out = "" if front.hypervolume_held_out is None else f" (held out {front.hypervolume_held_out:.4g})"
    seconds = sum(stage["seconds"] for stage in run.stages)
    parts: list[RenderableType] = [
        f"Front: {len(view.on_front)} of {front.n_candidates} candidates, hypervolume [bold]{front.hypervolume:.4g}[/]"
        f"{held_out}, {seconds:.0f} s"
    ]
    parts += [f"[yellow]Warning:[/] {escape(text)}" for text in warnings(run)]
    parts.append(Text(f"Everything is in {run.folder}", no_wrap=True, overflow="ignore"))  # a path stays whole
    return Group(*parts)


def _front_table(view: FrontView) -> Table:
    by_pairs = view.front.scored_by == "pairs"
    table = Table(title="Pareto front by preference pairs" if by_pairs else "Pareto front", title_justify="left")
    table.add_column("candidate", no_wrap=True)
    table.add_column("coefficients")
    for value in view.values:
        table.add_column(escape(value) + " score\n(held out)", justify="right")
        if by_pairs:
            table.add_column(escape(value) + " accuracy\n(held out)", justify="right")
    table.add_column("P(on\nfront)", justify="right")
    probabilities = {point.id: point.membership_probability for point in view.front.points}
    cell_words = (score_words, accuracy_words) if by_pairs else (score_words,)
    for candidate in view.on_front:
        cells = [words(candidate, value) for value, words in product(view.values, cell_words)]
        table.add_row(
            escape(candidate.id), escape(candidate.label), *cells, probability_words(probabilities[candidate.id])
        )
    return table


def surface_lines(view: FrontView) -> list[str]:
    """Say of every value what reading its scores off a surface is worth, or that they do not lie on one."""
    fits = {} if view.front.surface is None else view.front.surface.fits
    return [
        f"Scores of {value} read off a surface: candidates differ as if there were about {fit.worth:.2g} times the "
        f"prompts (lack of fit: p = {fit.p_value:.2g})."
        if fit.used
        else f"Scores of {value} do not lie on a smooth surface (lack of fit: p = {fit.p_value:.2g}): raw scores alone."
        for value, fit in fits.items()
    ]


def _reward_line(value: str, reward: Mapping[str, object]) -> str:
    return (
        f"Reward of {value}: agrees with {reward['accuracy']:.1%} of {reward['n_pairs']} held-out pairs "
        f"(95 % interval {reward['low']:.1%} to {reward['high']:.1%})"
    )


def _dependence_line(pair: Mapping[str, Any]) -> str:
    z = "" if pair["z"] is None else f", z {pair['z']:.1f}"
    return (
        f"Dependence of {pair['first']} and {pair['second']} by {pair['estimator']}: {pair['dependence']:.3g} "
        f"(independent training {pair['independent_training']:.3g}, chance {pair['chance_mean']:.3g}{z})"
    )
