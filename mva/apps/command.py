"""What every Hydra app shares: where the configuration lies, and how a run ends in one clear sentence."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from mva.apps.dotted import with_dotted_names
from mva.apps.errors import BUG, MENDABLE, REPORT, imported, sentence, user_errors, wants_traceback
from mva.apps.help import READERS, check_keys, command_of, suggestion, words_of
from mva.apps.hydra_nodes import guarded
from mva.apps.job_folder import job_folder
from mva.apps.resume import remember, stop_message
from mva.apps.streams import guard_streams
from mva.shell import override
from mva.terminal import Console
from mva.training.launched import are_several

_TERMINATED = 143
_PACKAGE = Path(__file__).resolve().parents[1]

# Mappings whose names only the user knows take any key without Hydra's `+`: a YAML file can't say so.
_OPEN: dict[str, Any] = {
    name: DictConfig({}, flags={"struct": False}) for name in ("coefficients", "rewards", "adapters")
}
_OPEN["tune"] = {"space": DictConfig({}, flags={"struct": False})}
_OPEN["select"] = {"limits": DictConfig({}, flags={"struct": False})}
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
ConfigStore.instance().store(name="open_mappings", node=DictConfig(_OPEN))


def conf_folder() -> Path:
    """Find `conf/`: inside the installed package, or beside it in a checkout."""
    shipped = _PACKAGE / "conf"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "conf"


def app(task: Callable[[DictConfig], object]) -> Callable[[], None]:
    """Make `task` a command line program configured by Hydra.

    Its `--help` opens with the docstring of its module: what it does, then `Examples:`.
    A mistake that the user can mend is printed as one sentence (debug.traceback=true shows the traceback) and exits
    with 2, a mistake of ours with its traceback and 1; Ctrl-C exits with 130, SIGTERM and SIGUSR1 with 143, so that
    a scheduler never takes a stopped run for a finished one; SIGUSR1 queues a SLURM job again.

    What only a task needs is imported when it starts: `--help`, `--cfg` and misspelt words need no torch.
    """
    state: dict[str, Any] = {}

    @functools.wraps(task)
    def checked(config: DictConfig) -> object:
        check_keys(task)
        if OmegaConf.select(config, "debug.traceback") is True:
            state["traced"] = True  # an experiment's file may ask for it, too
        get_method("mva.apps.settings.check_groups")(config := with_dotted_names(config))
        hydra_config = HydraConfig.get()
        if hydra_config.mode != RunMode.MULTIRUN:  # of a multirun SweepReport notes the folder
            remember("hydra.run.dir", hydra_config.run.dir)
        return task(config)

    @functools.wraps(task)
    def quiet(config: DictConfig) -> object:
        # Hydra prints extra lines about an exception that a job raises, so it is stored and raised after Hydra returns.
        try:
            return _as_job(checked)(config)
        except Exception as error:
            state["error"] = error
            return None

    command = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(quiet)

    @functools.wraps(task)
    def main() -> None:
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra re-raises, and we say it
        OmegaConf.register_new_resolver("app_words", lambda: words_of(task), replace=True)  # see conf/hydra/
        guard_streams()
        console = Console(stderr=True)
        signal.signal(signal.SIGTERM, _terminate)
        if hasattr(signal, "SIGUSR1"):  # Windows has none
            signal.signal(signal.SIGUSR1, _requeue)
        if command_of(task) in READERS["run"]:
            sys.argv[1:] = _with_run(sys.argv[1:])
        try:
            state.clear()
            with _joined(task), guarded(sys.argv[1:]):
                command()
            if "error" in state:
                raise state["error"]
        except KeyboardInterrupt:
            _stop(console, 130)
        except SystemExit as stopped:
            if _by_sigterm(stopped):
                _stop(console, _TERMINATED)
            raise
        except user_errors() as error:
            if state.get("traced") or wants_traceback(sys.argv[1:]):
                console.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
            hint = suggestion(error, conf_folder(), sys.argv[1:]) if isinstance(error, HydraException) else ""
            what = " ".join(filter(None, [sentence(error, sys.argv[1:], conf_folder()), hint]))
            console.print(f"[bold red]{type(error).__name__}:[/] ", end="")
            console.print(what, markup=False, highlight=False, soft_wrap=True)
            sys.exit(MENDABLE)
        except Exception:
            console.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
            console.print(REPORT, style="bold red", markup=False, highlight=False, soft_wrap=True)
            sys.exit(BUG)

    return main


def _as_job(task: Callable[[DictConfig], object]) -> Callable[[DictConfig], object]:
    as_job: Any = get_method("mva.apps.sweep.as_job")
    job: Callable[[DictConfig], object] = as_job(task)
    return job


def _by_sigterm(stopped: SystemExit) -> bool:
    # Lightning's SIGTERMException is a SystemExit without a status; the shell would see 0, which means success.
    of_lightning = imported("pytorch_lightning.utilities.exceptions", "SIGTERMException")
    return isinstance(stopped, of_lightning) or stopped.code == _TERMINATED


def _joined(task: object) -> AbstractContextManager[None]:
    """Join the other processes of a training, where there are any."""
    if not are_several():
        return nullcontext()
    joined: Any = get_method("mva.apps.several.joined")
    others: AbstractContextManager[None] = joined(task)
    return others


def _with_run(words: list[str]) -> list[str]:
    """Let `mva-serve FOLDER` be `mva-serve run=FOLDER`; quoted, since job folders are named `penalty=0,seed=1`."""
    first = words[0] if words else "-"
    if first.startswith(("-", "+", "~")) or ("=" in first and not Path(first).is_dir()):
        return words
    return [override("run", first), *words[1:]]


def _terminate(_signal: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, _leave)  # whoever asks twice does not wait for what is being tidied up
    sys.exit(_TERMINATED)


def _requeue(number: int, frame: object) -> NoReturn:
    """Stop as on SIGTERM, and under SLURM queue the job again: `#SBATCH --signal=USR1@120` warns of the time limit."""
    array, task = (os.environ.get(name) for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"))
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
    if job and shutil.which("scontrol"):
        subprocess.run(["scontrol", "requeue", job], check=False)
    _terminate(number, frame)


def _stop(console: Console, code: int) -> NoReturn:
    """Say how to go on, and leave; from now on Ctrl-C and SIGTERM end the process at once and without a word."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    if not are_several() or get_method("mva.training.ranks.is_first")():
        console.print(stop_message(sys.argv), style="yellow", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _leave(number: int, _frame: object) -> NoReturn:
    os._exit(128 + number)
