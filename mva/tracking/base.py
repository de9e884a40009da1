"""Trackers: where a run's numbers go. The run folder's own files are the truth, a tracker is their mirror."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class RunIdentity:
    """Which run is tracked: its folder, its name, the group (sweep) it belongs to, and its resolved config."""

    folder: Path
    name: str
    group: str
    job_type: str
    config: Mapping[str, Any]


class Tracker(Protocol):
    """One run's records."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record numbers by name (`train/helpful/loss`) at a step."""
        ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table."""
        ...

    def figure(self, name: str, path: Path) -> None:
        """Record a picture (PNG)."""
        ...

    def plot(self, name: str, figure: Any) -> None:
        """Record an interactive figure (Plotly)."""
        ...

    def page(self, name: str, path: Path) -> None:
        """Record an HTML page."""
        ...

    def artifact(self, name: str, kind: str, paths: Sequence[Path], *, aliases: Sequence[str] = ()) -> None:
        """Record files and folders as one versioned artifact, under `latest` and further aliases."""
        ...

    def summary(self, facts: Mapping[str, Any]) -> None:
        """Record the run's results."""
        ...


class TrackerSpec(Protocol):
    """A tracker's configuration."""

    def start(self, run: RunIdentity) -> AbstractContextManager[Tracker]:
        """Begin tracking; leaving the `with` ends it, as failed if an exception leaves it."""
        ...
