"""The checks of rewards, for the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mva.analysis.reward_checks import check_rows, weakest_words
from mva.runs.run_folder import Record


def reward_table(checks: Sequence[Record]) -> RenderableType:
    """Lay out a row for each source and value, and name the weakest."""
    columns, rows = check_rows(checks)
    table = Table(title="Rewards on labelled pairs (95 % intervals)", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    words = weakest_words(checks)
    return Group(table, *([] if words is None else [escape(words)]))
