"""Multiruns: every job records how it ended, and the last word is one front over all of them."""

import functools
import math
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from mva.analysis.sweep_view import SweepView
from mva.apps import assemble
from mva.apps.errors import sentence
from mva.apps.folder_lock import FolderBusy, writing
from mva.apps.resume import remember
from mva.apps.run_folder import identity
from mva.apps.streams import guard_streams
from mva.records import in_one_sentence, write_text
from mva.report.publish import publish_sweep
from mva.report.sweep_page import write_sweep
from mva.report.sweep_tables import sweep_summary
from mva.runs.sweep_folder import OUTCOME, Outcome, outcome_of, read_outcome
from mva.terminal import Console, visible
from mva.tracking.local import Local

Task = Callable[[DictConfig], object]


def as_job(task: Task) -> Task:
    """Let `task` be a job of a multirun: a finished one is skipped, a failed one is recorded and stops no other.

    A failed job returns NaN, which sweepers take for a failed trial. Its sentence stands in outcome.json, its traceback
    in traceback.txt. Outside of a multirun `task` is run as it is.
    """

    @functools.wraps(task)
    def job(config: DictConfig) -> object:
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN:
            return task(config)
        guard_streams()  # a launcher may run the job in another process
        command = task.__module__.rpartition(".")[2]
        started = Outcome(command, int(hydra.job.num), [str(override) for override in hydra.overrides.task])
        return _run(task, config, started, Path(hydra.runtime.output_dir))

    return job


class SweepReport(Callback):
    """Ends a multirun: writes the sweep's figure, records and page, shows its table; exits with 1 if a job failed.

    Works from the jobs' folders alone, so that it does not matter where a launcher ran them.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Forget failures of earlier starts in the same folder: what is still asked for is tried again."""
        remember("hydra.sweep.dir", config.hydra.sweep.dir)
        for path in Path(config.hydra.sweep.dir).rglob(OUTCOME):
            outcome = read_outcome(path.parent)
            if outcome is not None and outcome.state == "failed":
                path.unlink()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report; by SystemExit, since Hydra turns any other exception of a callback into a warning."""
        folder, console = Path(config.hydra.sweep.dir), Console(stderr=True)
        if not any(path.parent != folder for path in folder.rglob(OUTCOME)):
            if (folder / OUTCOME).is_file():
                return  # a multirun of one job without overrides: the sweep's folder is the job's
            line = f"The sweep has no job in {folder}: look above for what became of them."
            console.print(line, markup=False, highlight=False)
            sys.exit(1)
        try:
            view = write_sweep(folder, forms=list(config.report.forms))
        except (ValueError, OSError) as error:
            console.print(f"The sweep's report can't be written: {error}", markup=False, highlight=False)
            sys.exit(1)
        console.print(sweep_summary(view), crop=False)
        try:
            mirror_sweep(view, config)
        except Exception as error:  # the mirror's trouble is not the jobs'
            console.print(f"The sweep is not mirrored: {error}", markup=False, highlight=False, style="yellow")
        if view.failed:
            sys.exit(1)


def mirror_sweep(view: SweepView, config: DictConfig) -> None:
    """Send the sweep as a whole to the configured tracker, if that is more than the files that are there anyway."""
    spec = assemble.build(config.tracking)
    if not isinstance(spec, Local):
        publish_sweep(view, spec)


def _run(task: Task, config: DictConfig, started: Outcome, folder: Path) -> object:
    label = " ".join(started.overrides)
    try:
        with writing(folder):
            return _run_locked(task, config, started, folder)
    except (FolderBusy, OSError) as error:  # how that job ended is for the other process to record, or can't be
        Console(stderr=True).print(
            f"Left out: {label}: {in_one_sentence(error)}", markup=False, highlight=False, style="red"
        )
        return math.nan


def _run_locked(task: Task, config: DictConfig, started: Outcome, folder: Path) -> object:
    console, label, start = Console(stderr=True), " ".join(started.overrides), time.perf_counter()
    before = outcome_of(folder)
    try:
        started = replace(started, configuration=identity(config))
        if before is not None and _done(before, started):
            console.print(f"Skipped, finished already: {label}", markup=False, highlight=False)
            return before.objective
        started.write(folder)
        objective = task(config)
    except Exception as error:
        summary = f"{type(error).__name__}: {sentence(error, started.overrides)}"
        console.print(f"Failed: {label}: {summary}", markup=False, highlight=False, style="red")
        write_text(folder / "traceback.txt", visible(traceback.format_exc()))
        replace(started, state="failed", error=summary, seconds=_since(start)).write(folder)
        return math.nan
    number = float(objective) if isinstance(objective, int | float) else None
    replace(started, state="finished", objective=number, seconds=_since(start)).write(folder)
    return objective


def _done(before: Outcome, now: Outcome) -> bool:
    same = (before.command, before.configuration) == (now.command, now.configuration)
    return same and before.state == "finished"


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)
