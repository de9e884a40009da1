"""`mva-tune`: search settings (penalty strength, rank, learning rate, ...) for the largest hypervolume.

Examples:
    mva-tune                                    20 trials of penalty strength, rank and learning rate together
    mva-tune hydra.run.dir=FOLDER tune.trials=40   go on with the search in FOLDER, up to 40 trials
    mva-tune tune.space.estimator.choices=[hsic,correlation] tune.space.adapter=null   another space
"""

import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from mva.analysis.trials import Trial, best_of
from mva.apps import run
from mva.apps.command import app
from mva.apps.run_folder import identity
from mva.apps.sweep import as_job
from mva.apps.tune_search import Search
from mva.apps.tune_space import Setting, check_space, override, read_space
from mva.apps.tune_study import Proposer, write_study
from mva.report.sweep_page import write_sweep
from mva.report.tune_tables import tune_summary
from mva.shell import command_line
from mva.terminal import Console


@app
def main(config: DictConfig) -> None:
    """Run trials until there are `tune.trials`; exits with 1 if one failed."""
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        raise ValueError("mva-tune starts its jobs itself: leave out -m, and experiment=sweep_*.")
    folder = Path(hydra.run.dir)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            _search(config, Jobs(folder), folder)
    except Timeout:
        raise ValueError(f"Another mva-tune is at work in {folder}: wait for it, or stop it.") from None


class Jobs:
    """Runs trials as the jobs of a multirun, with the configured launcher: `mva` with more overrides each."""

    def __init__(self, folder: Path) -> None:
        self._loader = GlobalHydra.instance().config_loader()
        self._master: Any = HydraConfig.instance().cfg.copy()
        with read_write(self._master.hydra):
            self._master.hydra.sweep.dir = str(folder)
        words = [str(word) for word in self._master.hydra.overrides.task]
        self._common = [word for word in words if not re.match(r"[~+]*tune[.=]", word)]

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose a trial's configuration."""
        config = self._loader.load_sweep_config(self._master, [*self._common, *overrides])
        with open_dict(config):
            config.pop("hydra")
        return config

    def overrides(self, trial: Trial) -> list[str]:
        """List a trial's overrides: the command's own, but for what is searched, and the trial's."""
        own = [word for word in self._common if word.partition("=")[0] not in trial.settings]
        return [*own, *trial.overrides]

    def launch(self, trials: Sequence[Trial]) -> None:
        """Run trials; each leaves its outcome in its folder, and one that fails stops no other."""
        task = inspect.unwrap(run.main)  # what the command runs, without the command line around it
        context = HydraContext(config_loader=self._loader, callbacks=Callbacks())
        launcher = Plugins.instance().instantiate_launcher(context, as_job(task), self._master)
        sweep = ["hydra.mode=MULTIRUN", override("hydra.sweep.dir", str(self._master.hydra.sweep.dir))]
        jobs = [[*self.overrides(one), *sweep, override("hydra.sweep.subdir", one.folder)] for one in trials]
        launcher.launch(jobs, initial_job_idx=trials[0].number)


def _search(config: DictConfig, jobs: Jobs, folder: Path) -> None:
    tree: Any = OmegaConf.to_container(config.tune.space, resolve=True)
    space = read_space(tree, config)
    settings = config.tune
    proposer = Proposer(space, settings.sampler, settings.startup, settings.seed)
    check_space(space, jobs.compose)
    search = Search.open(folder, configuration=identity(config), proposer=proposer)
    while batch := search.next(settings.trials, settings.at_once, _configured(space, config)):
        jobs.launch(batch)
        search.learn()
    if len(search.trials) < settings.trials:
        Console(stderr=True).print("[yellow]Note:[/] the space holds no more trials.")
    _finish(search, jobs)


def _configured(space: Any, config: DictConfig) -> dict[str, Setting]:
    """Find what the configuration says now about the searched keys; of a group, its file's name."""
    groups = HydraConfig.get().runtime.choices
    return {key: groups[key] if key in groups else OmegaConf.select(config, key) for key in space}


def _finish(search: Search, jobs: Jobs) -> None:
    view = write_sweep(search.folder)
    best = best_of(search.trials, search.results)
    command = None if best is None else command_line(["mva", *jobs.overrides(best)])
    search.write(command=command)
    write_study(search.folder / "study.db", search.proposer.space, search.told())
    Console(stderr=True).print(tune_summary(search.trials, search.results, view, command), crop=False)
    if view.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
