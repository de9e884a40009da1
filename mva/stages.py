"""The stages of a run: named, timed, shown with a progress bar, and recorded."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mva.records import SCHEMA_VERSION, write_json
from mva.terminal import Console

Advance = Callable[[int], None]


class Stages:
    """Time each stage of a run and keep `timings.json` up to date."""

    def __init__(self, folder: Path, *, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.folder = folder
        self._path = folder / "timings.json"
        self._seconds: dict[str, float] = {}

    def tell(self, lines: Iterable[str]) -> None:
        """Say something, word for word."""
        for line in lines:
            self.console.print(line, markup=False, highlight=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce, time and record a stage."""
        self.console.rule(f"[bold]{name}", align="left")
        start = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start
        stages = [{"name": n, "seconds": round(s, 2)} for n, s in self._seconds.items()]
        write_json(self._path, {"schema_version": SCHEMA_VERSION, "stages": stages})

    @contextmanager
    def bar(self, description: str, total: int | None) -> Iterator[Advance]:
        """Show a progress bar; what it yields is called with the number of finished items."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(description, total=total)
            yield lambda done: progress.advance(task, done)
