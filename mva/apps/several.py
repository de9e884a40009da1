"""`torchrun --nproc-per-node N -m mva.apps.train ...`: the first process is the run, the others help it train."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from mva.apps.workflow import open_workflow
from mva.training import ranks

Task = Callable[[DictConfig], float]


class NotAlone(ValueError):
    """A command that several processes can't run together."""


def led(task: Task) -> Task:
    """Let the first of several processes run `task`, while the others train with it what it trains, and write nothing.

    They do so in a folder of their own that is gone afterwards, so that they meet the same trainings in the same order.
    """

    @functools.wraps(task)
    def run(config: DictConfig) -> float:
        if ranks.is_first():
            return task(config)
        with (
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
            open_workflow(config, job_type="train") as workflow,
        ):
            workflow.train()
        return float("nan")

    vars(run)["is_led"] = True
    return run


@contextmanager
def joined(task: object) -> Iterator[None]:
    """Join the other processes that torchrun or srun started; a helper's command line names its own folder.

    Raises:
        NotAlone: If `task` is not `led`, or the command line asks for a sweep.
        LostProcess: If the others can't be reached.
    """
    words = sys.argv[1:]
    if not hasattr(task, "is_led"):
        raise NotAlone("Several processes can only train: start this command without torchrun or srun.")
    if any(word in ("-m", "--multirun") or word.startswith("hydra.mode=") for word in words):
        raise NotAlone(
            "Several processes train one run, not a sweep: leave out -m, or start the sweep without torchrun, with "
            "hydra/launcher=gpus."
        )
    ranks.join()
    if ranks.is_first():
        yield
        return
    with TemporaryDirectory(prefix="mva-rank-") as folder:
        sys.argv[1:] = [*words, f"hydra.run.dir={folder}", "tracking=local"]
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Leave the terminal to the first process; an error that ends this one is said by whoever catches it."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
