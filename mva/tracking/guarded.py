"""A tracker is a mirror: its trouble is said once, and never ends the run."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from mva.terminal import Console
from mva.tracking.base import RunIdentity, Tracker, TrackerSpec

_LONGEST_REASON = 300

Warn = Callable[[str], None]


def warn_on_terminal(line: str) -> None:
    """Show a warning in one line."""
    Console(stderr=True).print(f"Warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)


class Guarded:
    """A tracker that is switched off by its first exception; `warn` then says why.

    An exception of the run itself gets through the `with`, to the tracker and to the caller.
    """

    def __init__(self, spec: TrackerSpec, run: RunIdentity, *, warn: Warn = warn_on_terminal) -> None:
        self._spec, self._run, self._warn = spec, run, warn
        self._manager: AbstractContextManager[Tracker] | None = None
        self._tracker: Tracker | None = None
        self.failed = False

    def __enter__(self) -> "Guarded":
        """Start the tracker."""
        try:
            manager = self._spec.start(self._run)
            self._tracker = manager.__enter__()
            self._manager = manager
        except Exception as trouble:
            self._switch_off("start", trouble)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the tracker, also one that is switched off; as failed if an exception leaves the `with`."""
        if self._manager is None:
            return
        try:
            self._manager.__exit__(kind, error, trace)
        except Exception as trouble:
            if trouble is not error:
                self._switch_off("finish", trouble)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record numbers at a step."""
        self._pass_on("log", metrics, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table."""
        self._pass_on("table", name, columns, rows)

    def figure(self, name: str, path: Path) -> None:
        """Record a picture."""
        self._pass_on("figure", name, path)

    def plot(self, name: str, figure: Any) -> None:
        """Record an interactive figure."""
        self._pass_on("plot", name, figure)

    def page(self, name: str, path: Path) -> None:
        """Record a page."""
        self._pass_on("page", name, path)

    def artifact(self, name: str, kind: str, paths: Sequence[Path], *, aliases: Sequence[str] = ()) -> None:
        """Record files."""
        self._pass_on("artifact", name, kind, paths, aliases=aliases)

    def summary(self, facts: Mapping[str, Any]) -> None:
        """Record the run's results."""
        self._pass_on("summary", facts)

    def _pass_on(self, what: str, *arguments: Any, **named: Any) -> None:
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, what)(*arguments, **named)
        except Exception as trouble:
            self._switch_off(what, trouble)

    def _switch_off(self, what: str, trouble: Exception) -> None:
        """Say once what went wrong; what the run does from now on is not recorded there."""
        self._tracker = None
        if self.failed:
            return
        self.failed = True
        reason = " ".join(str(trouble).split())[:_LONGEST_REASON]
        self._warn(
            f"{type(self._spec).__name__} is switched off: its {what} failed ({type(trouble).__name__}: {reason}). "
            f"The run is not affected; mva-report run={self._run.folder} report.mirror=true sends it later."
        )
