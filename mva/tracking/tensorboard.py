"""TensorBoard: a mirror of the run, `tensorboard/` in its folder; `tensorboard --logdir outputs` shows all runs."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from mva.terminal import visible
from mva.tracking.base import RunIdentity

FOLDER = "tensorboard"
_THERE = find_spec("tensorboard") is not None
if _THERE:
    from torch.utils.tensorboard import SummaryWriter

_MISSING = 'tracking=tensorboard needs the package tensorboard: pip install "mva[tensorboard]"'
_FLAT = (bool, int, float, str)


class TensorBoardTracker:
    """Mirror a run into TensorBoard's event files.

    Scalars have the step they were logged at; tables, the config and results are texts, figures are images. The results
    that are numbers stand beside the settings in the HPARAMS tab, one row a run: a sweep's jobs can be compared there.
    Interactive figures, pages and artifacts have no counterpart: they lie in the run folder.
    """

    def __init__(self, writer: "SummaryWriter", settings: Mapping[str, bool | int | float | str]) -> None:
        self._writer = writer
        self._settings = settings
        self._facts: dict[str, Any] = {}

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record numbers at a step."""
        for name, number in metrics.items():
            self._writer.add_scalar(visible(name), number, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table as a text."""
        self._writer.add_text(name, _markdown(columns, rows))

    def figure(self, name: str, path: Path) -> None:
        """Record an image: shape (height, width, 3 or 4), values in [0, 1]."""
        self._writer.add_image(name, np.asarray(imread(path)), dataformats="HWC")

    def plot(self, name: str, figure: Any) -> None:
        """Interactive figures are in the page in the run folder."""

    def page(self, name: str, path: Path) -> None:
        """Pages are in the run folder."""

    def artifact(self, name: str, kind: str, paths: Sequence[Path], *, aliases: Sequence[str] = ()) -> None:
        """Vectors and front are in the run folder."""

    def summary(self, facts: Mapping[str, Any]) -> None:
        """Record the run's results: all of them as a text when the run ends, the numbers also beside the settings."""
        self._facts.update(facts)

    def finish(self) -> None:
        """Write the results and the settings, once: TensorBoard shows only the first HPARAMS row of a run."""
        numbers = {f"result/{name}": float(n) for name, n in self._facts.items() if isinstance(n, int | float)}
        if self._facts:
            self._writer.add_text("results", _markdown(["result", "is"], list(self._facts.items())))
        self._writer.add_hparams(dict(self._settings), numbers, run_name=".")


@dataclass(frozen=True)
class TensorBoard:
    """`tracking=tensorboard`.

    Raises:
        ValueError: If the package is not installed.
    """

    def __post_init__(self) -> None:
        """Refuse what could not be written later."""
        if not _THERE:
            raise ValueError(_MISSING)

    @contextmanager
    def start(self, run: RunIdentity) -> Iterator[TensorBoardTracker]:
        """Track into the run folder; what was recorded is kept also if an exception leaves the run."""
        folder = run.folder / FOLDER
        shutil.rmtree(folder, ignore_errors=True)  # a resumed run logs its stored metrics anew
        with SummaryWriter(str(folder)) as writer:
            writer.add_text("config", _code(json.dumps(run.config, indent=2, ensure_ascii=False, default=str)))
            tracker = TensorBoardTracker(writer, dict(_flat(run.config)))
            try:
                yield tracker
            finally:
                tracker.finish()


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """Name each setting by its path; what the HPARAMS tab has no type for (null, lists) is written as text."""
    for key, setting in config.items():
        if isinstance(setting, Mapping):
            yield from _flat(setting, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", setting if isinstance(setting, _FLAT) else json.dumps(setting, default=str)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(content: object) -> str:
    return visible(str(content)).replace("|", "\\|").replace("\n", "<br>")


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
