"""`mva-cache`: what the cache holds, for whom, how large and when it was last used; and how to make it smaller.

Examples:
    mva-cache                                   list everything, the least lately used first
    mva-cache --older-than 30d --remove         remove what was not used for 30 days
    mva-cache --shrink-to 5GB --remove          remove what was used least lately, until 5 GB are left
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mva.apps.errors import MENDABLE
from mva.apps.streams import guard_streams
from mva.models.cache_contents import DRAFT, KINDS, Content, contents, remove
from mva.models.disk import DiskTrouble, size_text
from mva.models.store import Store
from mva.terminal import Console, visible

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def main(arguments: Sequence[str] | None = None) -> int:
    """List the chosen contents, and with `--remove` remove them; the exit code is 1 if the cache can't be written."""
    guard_streams()
    options = _parser().parse_args(arguments)
    console = Console()
    store = Store(options.cache)
    there = contents(store)
    chosen = _chosen(there, options)
    if not there:
        console.print(f"{store.root} holds nothing.", markup=False, highlight=False, soft_wrap=True)
        return 0
    console.print(_table(chosen))
    total, part = (size_text(sum(content.n_bytes for content in group)) for group in (there, chosen))
    summary = f"{store.root} holds {total}." if chosen == there else f"{part} of {total} in {store.root}."
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    if not options.remove:
        return 0
    return _remove(store, chosen, console)


def _chosen(there: Sequence[Content], options: argparse.Namespace) -> list[Content]:
    chosen = [content for content in there if not options.kind or content.kind in options.kind]
    if options.older_than is not None:
        chosen = [content for content in chosen if time.time() - content.last_used > options.older_than]
    if options.shrink_to is not None:
        excess = sum(content.n_bytes for content in there) - options.shrink_to
        chosen, candidates = [], chosen
        for content in candidates:
            if excess > 0:
                chosen.append(content)
                excess -= content.n_bytes
    return chosen


def _remove(store: Store, chosen: Sequence[Content], console: Console) -> int:
    removed: list[Content] = []
    held: list[Content] = []
    try:
        for content in chosen:
            (removed if remove(store, content) else held).append(content)
    except DiskTrouble as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        return MENDABLE
    console.print(f"Removed {len(removed)}, {size_text(sum(content.n_bytes for content in removed))}.", highlight=False)
    if held:
        console.print(f"{len(held)} stay: a process makes them, or has used them in the last minutes.", highlight=False)
    return 0


def _table(chosen: Sequence[Content]) -> Table:
    table = Table("Kind", title="The cache", title_justify="left")
    table.add_column("For whom", overflow="fold")
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Last used", justify="right", no_wrap=True)
    table.add_column("Key", no_wrap=True)
    for content in chosen:
        cells = (content.kind, content.what, size_text(content.n_bytes), _ago(content.last_used), content.key[:12])
        table.add_row(*(Text(visible(cell, one_line=True)) for cell in cells))
    return table


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for unit, name in (("d", "days"), ("h", "hours"), ("m", "minutes")):
        if seconds >= 2 * _SECONDS[unit]:
            return f"{seconds / _SECONDS[unit]:.0f} {name} ago"
    return "just now"


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip().lower())
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no age: write 90m, 12h, 30d or 2w")
    return float(match[1]) * _SECONDS[match[2]]


def _size(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", text.strip().upper())
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: write 0, 500MB or 5GB")
    return float(match[1]) * _BYTES[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mva-cache",
        description=__doc__,
        epilog="What a running process makes or has just used stays, and so does every file that mva did not write.\n"
        "What is removed is computed again when a run needs it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    standard = Path(os.environ.get("MVA_CACHE") or Path(os.environ.get("HOME", "."), ".cache", "mva"))
    parser.add_argument(
        "--cache",
        type=Path,
        default=standard,
        metavar="FOLDER",
        help="the cache (paths.cache; default: MVA_CACHE, or ~/.cache/mva)",
    )
    parser.add_argument(
        "--kind", action="append", choices=[*KINDS, DRAFT], help="of this kind alone; may be given several times"
    )
    parser.add_argument("--older-than", type=_age, metavar="AGE", help="not used for so long: 90m, 12h, 30d, 2w")
    parser.add_argument(
        "--shrink-to", type=_size, metavar="SIZE", help="the least lately used, so that SIZE is left: 0, 500MB, 5GB"
    )
    parser.add_argument("--remove", action="store_true", help="remove what is listed (without it nothing changes)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
