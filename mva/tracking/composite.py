"""Several trackers at once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mva.tracking.base import RunIdentity, Tracker, TrackerSpec
from mva.tracking.guarded import Guarded


@dataclass(frozen=True)
class CompositeTracker:
    """Pass everything on to each tracker."""

    trackers: Sequence[Tracker]

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record numbers at a step."""
        for tracker in self.trackers:
            tracker.log(metrics, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table."""
        for tracker in self.trackers:
            tracker.table(name, columns, rows)

    def figure(self, name: str, path: Path) -> None:
        """Record a picture."""
        for tracker in self.trackers:
            tracker.figure(name, path)

    def plot(self, name: str, figure: Any) -> None:
        """Record an interactive figure."""
        for tracker in self.trackers:
            tracker.plot(name, figure)

    def page(self, name: str, path: Path) -> None:
        """Record a page."""
        for tracker in self.trackers:
            tracker.page(name, path)

    def artifact(self, name: str, kind: str, paths: Sequence[Path], *, aliases: Sequence[str] = ()) -> None:
        """Record files."""
        for tracker in self.trackers:
            tracker.artifact(name, kind, paths, aliases=aliases)

    def summary(self, facts: Mapping[str, Any]) -> None:
        """Record the run's results."""
        for tracker in self.trackers:
            tracker.summary(facts)


@dataclass(frozen=True)
class Composite:
    """Start several trackers as one. The trouble of one of them is said, and ends neither the others nor the run."""

    specs: Sequence[TrackerSpec]

    @contextmanager
    def start(self, run: RunIdentity) -> Iterator[CompositeTracker]:
        """Start every tracker, and end every one that was started."""
        with ExitStack() as stack:
            yield CompositeTracker([stack.enter_context(Guarded(spec, run)) for spec in self.specs])
