"""The same facts as plain files in the run folder."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mva.records import write_json
from mva.tracking.base import RunIdentity


class LocalTracker:
    """Metrics as lines of `metrics.jsonl`, results in `summary.json`; figures, tables and vectors lie there anyway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._summary: dict[str, Any] = {}
        (folder / "metrics.jsonl").write_text("", encoding="utf-8")  # a resumed run logs its stored metrics anew

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one line: step, time (seconds since 1970) and the metrics that are finite."""
        finite = {name: number for name, number in metrics.items() if math.isfinite(number)}
        with (self._folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 3), **finite}) + "\n")

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Tables are in the run folder already."""

    def figure(self, name: str, path: Path) -> None:
        """Figures are in the run folder already."""

    def plot(self, name: str, figure: Any) -> None:
        """Interactive figures are in the page already."""

    def page(self, name: str, path: Path) -> None:
        """Pages are in the run folder already."""

    def artifact(self, name: str, kind: str, paths: Sequence[Path], *, aliases: Sequence[str] = ()) -> None:
        """Vectors and front are in the run folder already."""

    def summary(self, facts: Mapping[str, Any]) -> None:
        """Merge the facts into `summary.json`."""
        self._summary.update(facts)
        write_json(self._folder / "summary.json", self._summary)


@dataclass(frozen=True)
class Local:
    """`tracking=local`."""

    @contextmanager
    def start(self, run: RunIdentity) -> Iterator[LocalTracker]:
        """Track into the run folder."""
        yield LocalTracker(run.folder)
