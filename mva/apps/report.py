"""`mva-report run=FOLDER`: write the figures and the page of a run, or of a sweep, (again), and show its summary."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from mva.apps.command import app
from mva.report.front_view import front_view
from mva.report.page import write_report
from mva.report.run_files import read_run
from mva.report.sweep_page import write_sweep
from mva.report.sweep_tables import sweep_summary
from mva.report.tables import summary


@app
def main(config: DictConfig) -> None:
    """Write report.html and the figures into the folder `run`: of the run, or of the sweep whose jobs lie in it."""
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-report run=outputs/default/2026-11-23_14-05-00-000000")
    folder, console = Path(config.run), Console()
    if folder.is_dir() and not (folder / "config.yaml").is_file():
        console.print(sweep_summary(write_sweep(folder)), crop=False)
        return
    write_report(folder, forms=config.report.forms)
    run = read_run(folder)
    console.print(summary(run, front_view(run)), crop=False)


if __name__ == "__main__":
    main()
