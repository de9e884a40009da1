"""A comparison of methods as a table for the terminal and as a figure."""

import numpy as np
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from mva.analysis.comparison import Comparison
from mva.report.style import look_of
from mva.report.words import difference_words, interval_words
from mva.statistics.comparison import chance_line


def comparison_table(comparison: Comparison) -> Table:
    """Lay the comparison out for the terminal."""
    compared = [row for row in comparison.rows if row.differences is not None]
    table = Table(
        title=f"Fronts on {comparison.n_prompts} held-out prompts, scores scaled to the joint range; 95 % intervals",
        title_justify="left",
        caption=None if len(compared) < 2 else chance_line(len(compared)),
        caption_justify="left",
    )
    table.add_column("method")
    table.add_column("seeds", justify="right")
    table.add_column("training\n(pairs, seconds)", justify="right")
    for name, better in comparison.better.items():
        table.add_column(escape(name) if better == "neither" else f"{escape(name)}\n({better} is better)")
    table.add_column("hypervolume against the first")
    table.add_column("of all at once")
    for row in comparison.rows:
        cells = [interval_words(interval) for interval in row.indicators.values()]
        difference = row.differences["hypervolume"] if row.differences else None
        verdict_cells = difference_words(difference), "-" if difference is None else str(difference.simultaneous)
        cost = f"{row.pairs:.0f}, {row.seconds:.0f}"
        table.add_row(escape(row.label), str(row.n_seeds), cost, *cells, *verdict_cells)
    return table


def draw_comparison(comparison: Comparison) -> Figure:
    """Draw all held-out front points by the first two values, one colour and marker a method."""
    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    axes = figure.subplots()
    x, y = 0, min(1, len(comparison.values) - 1)
    for number, row in enumerate(comparison.rows):
        points = np.concatenate(list(row.fronts))
        look = look_of(number)
        axes.scatter(
            points[:, x],
            points[:, y],
            s=36,
            alpha=0.85,
            label=row.label,
            color=look.colour,
            marker=look.mark.matplotlib,
        )
    axes.set(xlabel=f"{comparison.values[x]} score, held out", ylabel=f"{comparison.values[y]} score, held out")
    axes.grid(alpha=0.25)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure
