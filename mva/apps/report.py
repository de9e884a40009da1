"""`mva-report run=FOLDER`: write the figures and the page of a run, or of a sweep, (again), and show its summary.

Examples:
    mva-report run=FOLDER                       the folder of a run, or of a multirun
    mva-report run=FOLDER report.forms=[svg]    figures in one form alone
    mva-report run=FOLDER report.mirror=true    send its records to the tracker, too
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mva.apps import assemble
from mva.apps.command import app
from mva.apps.sweep import mirror_sweep
from mva.report.front_view import front_view
from mva.report.page import write_report
from mva.report.publish import replay
from mva.report.run_files import RunFiles, read_run
from mva.report.sweep_files import read_sweep
from mva.report.sweep_page import write_sweep
from mva.report.sweep_tables import sweep_summary
from mva.report.tables import summary
from mva.terminal import Console
from mva.tracking.base import RunIdentity


@app
def main(config: DictConfig) -> None:
    """Write report.html and the figures into the folder `run`: of the run, or of the sweep whose jobs lie in it."""
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-report run=outputs/default/2026-11-23_14-05-00-000000")
    folder, console = Path(config.run), Console()
    if folder.is_dir() and not (folder / "config.yaml").is_file():
        view = write_sweep(folder, forms=config.report.forms)
        console.print(sweep_summary(view), crop=False)
        if config.report.mirror:
            mirror_sweep(view, config)
        runs = [job.run for job in read_sweep(folder) if job.run is not None]
    else:
        write_report(folder, forms=config.report.forms)
        runs = [read_run(folder)]
        console.print(summary(runs[0], front_view(runs[0])), crop=False)
    if config.report.mirror:
        for run in runs:
            _mirror(run, config, group=folder.name if run.folder != folder else None)


def _mirror(run: RunFiles, config: DictConfig, *, group: str | None) -> None:
    """Send the run's records to the tracker."""
    stored: Any = OmegaConf.to_container(OmegaConf.create(run.config))
    identity = RunIdentity(run.folder, run.folder.name, group or stored["experiment_name"], "report", stored)
    with assemble.build(config.tracking).start(identity) as tracker:
        replay(run.folder, tracker)


if __name__ == "__main__":
    main()
