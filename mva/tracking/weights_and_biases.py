"""Weights & Biases: offline unless the user is logged in or asks; never a prompt, never a long wait."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import wandb

from mva.checks import FILLED, Rule, Text, check
from mva.terminal import visible, visible_data
from mva.tracking.base import RunIdentity

Mode = Literal["auto", "online", "offline"]
PROJECT = Rule(
    lambda name: len(name) <= 128 and not set(name) & set("/\\#?%:"), " of at most 128 letters, none of /\\#?%:"
)
_LONGEST_NAME = 128
_EVALUATIONS = "explore/evaluations"
# A machine without a network would wait for 90 s before every run, and for ever after it.
_PATIENCE = {"WANDB_INIT_TIMEOUT": 20.0, "WANDB_FINISH_TIMEOUT": 600.0}


def short_name(name: str) -> str:
    """Cut a name to the 128 characters that W&B takes; a hash at its end keeps different names apart."""
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: _LONGEST_NAME - 11]}-{digest}"


class WandbTracker:
    """Mirror a run into W&B. Training is drawn against its batches (`step`), exploration against its evaluations.

    Control characters in names and texts are sent as visible escapes (see `mva.terminal`).
    """

    def __init__(self, run: wandb.Run) -> None:
        self._run = run
        for stages, axis in ((("train/*", "validation/*"), "step"), (("explore/*",), _EVALUATIONS)):
            run.define_metric(axis, hidden=True)
            for stage in stages:
                run.define_metric(stage, step_metric=axis)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record numbers of one stage at a step."""
        axis = _EVALUATIONS if all(name.startswith("explore/") for name in metrics) else "step"
        self._run.log(visible_data({**metrics, axis: step}))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a W&B table."""
        table = wandb.Table(columns=visible_data(list(columns)), data=[visible_data(list(row)) for row in rows])
        self._run.log({visible(name): table})

    def figure(self, name: str, path: Path) -> None:
        """Record an image."""
        self._run.log({name: wandb.Image(str(path))})

    def plot(self, name: str, figure: Any) -> None:
        """Record an interactive figure."""
        self._run.log({name: wandb.Plotly(figure)})

    def page(self, name: str, path: Path) -> None:
        """Record an HTML page."""
        self._run.log({name: wandb.Html(path.read_text(encoding="utf-8"), inject=False)})

    def artifact(self, name: str, kind: str, paths: Sequence[Path], *, aliases: Sequence[str] = ()) -> None:
        """Record files and folders under the names they have in the run folder."""
        artifact = wandb.Artifact(name, type=kind)
        for path in paths:
            # One by one: adding a whole folder would be announced on the terminal.
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    artifact.add_file(str(file), name=visible(str(file.relative_to(path.parent))))
        self._run.log_artifact(
            artifact, aliases=["latest", *(short_name(re.sub(r"[/:]", "-", visible(alias))) for alias in aliases)]
        )

    def summary(self, facts: Mapping[str, Any]) -> None:
        """Record the run's results."""
        self._run.summary.update(visible_data(dict(facts)))


@dataclass(frozen=True)
class WeightsAndBiases:
    """`mode` auto is online for users who are logged in (an API key in the environment or in netrc), else offline."""

    mode: Mode = "auto"
    project: Annotated[str, FILLED, PROJECT] = "mva"
    entity: Text | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @contextmanager
    def start(self, run: RunIdentity) -> Iterator[WandbTracker]:
        """Open a W&B run of its own; a run that an exception leaves is marked as failed."""
        logging.getLogger("wandb").setLevel(logging.ERROR)
        opened = wandb.init(
            project=self.project,
            entity=self.entity,
            dir=str(run.folder),
            id=hashlib.sha256(str(run.folder.resolve()).encode()).hexdigest()[:16],
            name=short_name(visible(run.name)),
            group=short_name(visible(run.group)),
            job_type=run.job_type,
            config=visible_data(dict(run.config)),
            mode=self._resolved_mode(),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, finish_timeout_raises=True, **_patience()
            ),
        )
        code = 1
        try:
            yield WandbTracker(opened)
            code = 0
        finally:
            opened.finish(exit_code=code)

    def _resolved_mode(self) -> Literal["online", "offline"]:
        if self.mode != "auto":
            return self.mode
        wanted = os.environ.get("WANDB_MODE")
        logged_in = wandb.login(prompt=False, verify=False) if wanted is None else wanted == "online"
        return "online" if logged_in else "offline"


def _patience() -> dict[str, float]:
    """Bound, in seconds, what W&B may take to begin a run and to upload its rest; the user's environment has its say.

    Raises:
        ValueError: If the environment has no number there.
    """
    return {name.removeprefix("WANDB_").lower(): float(os.environ.get(name, s)) for name, s in _PATIENCE.items()}
