"""`mva-power run=FOLDER`: what a run's, or a sweep's, prompts and seeds tell, and what more of them would cost.

Examples:
    mva-power run=FOLDER                        the folder of a run, or of a multirun
    mva-power run=FOLDER power.difference=0.1   what telling a difference of 10 % takes
    mva-power run=FOLDER power.minutes=60       what to do with the next hour
"""

from pathlib import Path

from omegaconf import DictConfig

from mva.analysis.run_power import run_power
from mva.analysis.sweep_power import sweep_power
from mva.analysis.sweep_view import sweep_view
from mva.apps.command import app
from mva.report.power_words import run_words, sweep_words
from mva.runs.run_folder import read_run
from mva.terminal import Console

NOTHING = (
    "There is nothing to compare: a sweep tells differences between settings that share rewards, held-out prompts and "
    "seeds (mva -m method=mva,rewarded_soups seed=0,1,2). mva-power with a job's folder says what its candidates need."
)


@app
def main(config: DictConfig) -> None:
    """Print what the runs of the folder `run` tell; nothing is written.

    Raises:
        ValueError: If no folder is given, or its runs can't say anything.
    """
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-power run=outputs/default/2026-11-23_14-05-00-000000")
    folder, console = Path(config.run), Console()
    difference, minutes = config.power.difference, config.power.minutes
    if (folder / "config.yaml").is_file() or not folder.is_dir():
        run = read_run(folder)
        console.print(run_words(run, run_power(run, difference=difference), minutes=minutes), crop=False)
        return
    compared = False
    for front in sweep_view(folder).fronts:
        power = sweep_power(front, seconds=60 * minutes, difference=difference)
        if power is not None:
            jobs = tuple(job.job for job in front.jobs)
            console.print(sweep_words(power, jobs, minutes=minutes), crop=False)
            compared = True
    if not compared:
        raise ValueError(f"{folder}: {NOTHING}")


if __name__ == "__main__":
    main()
