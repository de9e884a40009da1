"""`hydra/launcher=gpus`: the jobs of a multirun side by side, one process a GPU."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method
from omegaconf import DictConfig


class GpuSlots(Launcher):
    """Holds the settings (see `conf/hydra/launcher/gpus.yaml`); `mva.apps.slots` does the work.

    Every Hydra app of the environment imports this module, so that it names nothing that takes time to import.
    """

    def __init__(self, slots: int | None = None, threads: int | None = None) -> None:
        self.slots = slots
        self.threads = threads

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what the jobs are made of."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; returns how each ended, in their order."""
        launch: Any = get_method("mva.apps.slots.launch")
        returns: Sequence[JobReturn] = launch(self, job_overrides, initial_job_idx)
        return returns
