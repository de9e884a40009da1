"""What is said when a search ends."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mva.analysis.facets import short_names
from mva.analysis.sweep_view import SweepView
from mva.analysis.trials import Result, Trial, best_of
from mva.report.sweep_tables import measured_from


def tune_summary(
    trials: Sequence[Trial], results: Mapping[int, Result], view: SweepView, command: str | None
) -> RenderableType:
    """Lay out what is said when a search ends: every trial, the best one and how far to trust it, what failed."""
    best = best_of(trials, results)
    parts: list[RenderableType] = [_table(trials, results, best)]
    if view.fronts:
        parts.append(escape(measured_from(view.fronts[0])))
    if best is not None:
        parts.append(_verdict(trials, results, best))
        parts.append(Text(f"  {command}", no_wrap=True, overflow="ignore"))  # to be copied: never broken
    for trial in trials:
        result = results[trial.number]
        if result.status == "failed":
            parts.append(f"[red]Trial {trial.number} failed:[/] {escape(result.error or '')}")
    if any(result.status == "failed" for result in results.values()):
        parts.append("The same command with hydra.run.dir=<this folder> tries failed trials again.")
    parts.append(f"Everything is in [bold]{escape(str(view.folder))}[/]: report.html, tune.json, study.db")
    return Group(*parts)


def _table(trials: Sequence[Trial], results: Mapping[int, Result], best: Trial | None) -> Table:
    table = Table(title=f"Search of {len(trials)} trials", title_justify="left")
    keys = list(trials[0].settings)
    table.add_column("trial", justify="right", no_wrap=True)
    for name in short_names(keys):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("status", no_wrap=True)
    for column in ("hypervolume", "held out", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for trial in trials:
        r = results[trial.number]
        cells = [str(trial.number), *(_text(trial.settings[key]) for key in keys), r.status]
        cells += [_number(r.hypervolume), _number(r.hypervolume_held_out)]
        cells.append("-" if r.seconds is None else f"{r.seconds:.0f} s")
        table.add_row(*map(escape, cells), style="bold" if trial is best else None)
    return table


def _verdict(trials: Sequence[Trial], results: Mapping[int, Result], best: Trial) -> str:
    count = sum(result.hypervolume is not None for result in results.values())
    won = results[best.number]
    said = (
        f"Best: trial {best.number} with hypervolume [bold]{_number(won.hypervolume)}[/]: optimistic, as the best of "
        f"{count} noisy numbers. On held-out prompts, which had no part in the choice, it has "
        f"{_number(won.hypervolume_held_out)}"
    )
    start = next(
        (trial for trial in trials if trial.configured and results[trial.number].hypervolume is not None), None
    )
    if start is None:
        return f"{said}."
    if start is best:
        return f"{said}. It is the configuration as it stands."
    stands = results[start.number]
    return (
        f"{said}, and the configuration as it stands (trial {start.number}) {_number(stands.hypervolume_held_out)} "
        f"(on validation prompts {_number(stands.hypervolume)})."
    )


def _text(setting: object) -> str:
    return f"{setting:g}" if isinstance(setting, float) else str(setting)


def _number(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"
