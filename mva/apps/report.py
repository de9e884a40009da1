"""`mva-report run=FOLDER`: write the figures and the page of a run, or of a sweep, (again), and show its summary.

Examples:
    mva-report run=FOLDER    the folder of a run, or of a multirun
    mva-report run=FOLDER select.most=harmless select.limits.helpful=95%    recommend a candidate under limits
    mva-report run=FOLDER report.mirror=true    send its records to the tracker, too
"""

import os
import sys
from pathlib import Path

from omegaconf import DictConfig

from mva.analysis.front_view import FrontView, front_view
from mva.analysis.limits import Selection, choose, selection
from mva.analysis.sweep_view import sweep_view
from mva.apps import assemble
from mva.apps.command import app
from mva.apps.components import make
from mva.apps.folder_lock import writing_if_allowed
from mva.apps.settings import Select, group
from mva.apps.stored_config import read_config
from mva.apps.sweep import mirror_sweep
from mva.report.page import write_report
from mva.report.publish import replay
from mva.report.sweep_page import write_sweep
from mva.report.sweep_tables import sweep_summary
from mva.report.tables import summary
from mva.runs.run_folder import RunFiles, read_run
from mva.terminal import Console
from mva.tracking.base import RunIdentity
from mva.tracking.guarded import Guarded
from mva.tracking.local import Local


@app
def main(config: DictConfig) -> None:
    """Write report.html and the figures into the folder `run`: of the run, or of the sweep whose jobs lie in it."""
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-report run=outputs/default/2026-11-23_14-05-00-000000")
    folder = Path(config.run)
    if folder.is_dir() and not (folder / "config.yaml").is_file():
        runs = _report_sweep(folder, config)
    else:
        runs = [_report_run(folder, config)]
    if config.report.mirror and not all(_mirror(run, config, folder) for run in runs):
        sys.exit(1)


def _report_run(folder: Path, config: DictConfig) -> RunFiles:
    run = read_run(folder)
    view = front_view(run)
    selected = _selection(run, view, config)
    with writing_if_allowed(folder) as writable:
        if writable:
            write_report(folder, forms=config.report.forms, selection=selected)
    Console().print(summary(run, view, choose(run, view, selected)), crop=False)
    return run


def _selection(run: RunFiles, view: FrontView, config: DictConfig) -> Selection:
    """Read what this call selects by, or else what the run's own configuration does."""
    wanted = group(Select, config, "select")
    if wanted == Select(None, {}):
        stored = read_config(run.config, where=str(run.folder / "config.yaml")).get("select")
        wanted = make(Select, stored, "select") if isinstance(stored, dict) else wanted
    by_pairs = view.front.scored_by == "pairs"
    return selection(wanted.most, wanted.limits, values=view.values, by_pairs=by_pairs)


def _report_sweep(folder: Path, config: DictConfig) -> list[RunFiles]:
    """Report a sweep; its jobs may still be running: what they write is not touched."""
    if group(Select, config, "select") != Select(None, {}):
        raise ValueError("select is for the candidates of one run: give the folder of a job in place of the sweep's.")
    writable = os.access(folder, os.W_OK)
    view = write_sweep(folder, forms=config.report.forms) if writable else sweep_view(folder)
    Console().print(sweep_summary(view), crop=False)
    if config.report.mirror:
        mirror_sweep(view, config)
    return [job.run for job in view.jobs if job.run is not None]


def _mirror(run: RunFiles, config: DictConfig, folder: Path) -> bool:
    """Send the run's records to the tracker; returns whether that worked (the tracker's guard says what did not)."""
    spec = assemble.build(config.tracking)
    if isinstance(spec, Local):
        Console(stderr=True).print("Nothing is sent: tracking=local has the run's files as they are.")
        return True
    stored = read_config(run.config, where=str(run.folder / "config.yaml"))
    group = folder.name if run.folder != folder else str(stored.get("experiment_name"))
    with Guarded(spec, RunIdentity(run.folder, run.folder.name, group, "report", stored)) as tracker:
        replay(run.folder, tracker)
    return not tracker.failed


if __name__ == "__main__":
    main()
