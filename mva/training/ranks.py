"""One vector on several devices: the processes that torchrun or srun started deal a step's pairs out among them.

Each process (rank) holds the whole model and computes the gradient of its share of every step's pairs,

    g = (1 / N) sum_r g_r,    g_r the gradient of the mean loss of rank r's pairs, plus the penalty's,

which is the gradient of one process on all pairs, since the shares are of equal size and the penalty is the same on
each rank. Adapters are small, so that their gradients are averaged as one row of numbers before every optimizer step.
What several ranks could make is decided by the first; it alone writes. With one process all of this does nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from mva.checks import BadSetting
from mva.data.datamodule import PreferenceDataModule
from mva.objectives.base import PreferenceLoss, of_the_whole_batch
from mva.training.launched import by_srun, by_torchrun
from mva.training.spec import ExecutionOptions, Recipe

_PATIENCE = timedelta(days=30)  # others wait for passes over all pairs, which may take hours

T = TypeVar("T")


class LostProcess(ChildProcessError):
    """Another process of the training is gone; the message says how to go on."""


@dataclass(frozen=True)
class Launched:
    """What the program that started several processes says: this one's number, and on its machine; how many in all."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int


def launched() -> Launched | None:
    """Read what torchrun or srun say; None where this process is the only one."""
    settings = os.environ
    if by_torchrun():
        rank, size, local = (int(settings[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        return Launched(rank, size, local, settings["MASTER_ADDR"], int(settings["MASTER_PORT"]))
    if by_srun():
        rank, size, local = (int(settings[name]) for name in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"))
        nodes = settings.get("SLURM_STEP_NODELIST") or settings.get("SLURM_NODELIST", "127.0.0.1")
        address = settings.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodes)
        port = settings.get("MASTER_PORT") or 15_000 + int(settings["SLURM_JOB_ID"][-4:])  # its own on a shared node
        return Launched(rank, size, local, address, int(port))
    return None


def join() -> None:
    """Join the other processes, if there are any, and take a GPU of this machine, before torch has touched one.

    Raises:
        LostProcess: If the others can't be reached.
    """
    here = launched()
    if here is None or dist.is_initialized():
        return
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(gpu) for gpu in range(torch.cuda.device_count())] if stated is None else stated.split(",")
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[here.local_rank % len(gpus)]
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    first = f"tcp://{here.address}:{here.port}"
    with _others_there():
        # torchrun's own store stands at that address already.
        method = "env://" if "TORCHELASTIC_RUN_ID" in os.environ else first
        dist.init_process_group(backend, init_method=method, rank=here.rank, world_size=here.size, timeout=_PATIENCE)


def size() -> int:
    """Count the processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Say whether this process is the one that writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def by_first(context: AbstractContextManager[None]) -> AbstractContextManager[None]:
    """Enter a context in the first process alone: it holds the locks for all."""
    return context if is_first() else nullcontext()


def agreed(do: Callable[[], T]) -> T:
    """Let the first process do something, and return to all what came of it; the others wait.

    Raises:
        LostProcess: If another process is gone.
    """
    if size() == 1:
        return do()
    decisions: list[Any] = [do() if is_first() else None]
    with _others_there():
        dist.broadcast_object_list(decisions, src=0, device=torch.device("cpu"))
    return decisions[0]


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over all processes; they come in the same order everywhere.

    Raises:
        LostProcess: If another process is gone.
    """
    if size() == 1:
        return
    listed = list(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in listed])
    with _others_there():
        dist.all_reduce(flat)
    flat /= size()
    for tensor, mean in zip(listed, flat.split([tensor.numel() for tensor in listed]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def share_of(data: PreferenceDataModule) -> PreferenceDataModule:
    """Deal the pairs of every training step out; the held-out pairs are everybody's."""
    if size() == 1:
        return data
    rows = [row[dist.get_rank() :: size()] for row in data.train.rows]
    return PreferenceDataModule(replace(data.train, rows=rows), data.validation)


def allowed(callbacks: Iterable[Callback], *, first_alone: tuple[type[Callback], ...]) -> list[Callback]:
    """Leave out what only the first process may do."""
    return [callback for callback in callbacks if is_first() or not isinstance(callback, first_alone)]


def alone() -> ClusterEnvironment:
    """Keep Lightning to one process: it neither looks for others, nor requeues a SLURM job.

    Its checkpoint of a requeued job would lie in the working directory and hold one vector alone.
    """
    return LightningEnvironment()


class AverageGradients(Callback):
    """Average the gradients over all processes before an optimizer step, and before anything else looks at them."""

    @torch.no_grad()
    def on_before_optimizer_step(self, _trainer: Trainer, _module: LightningModule, optimizer: Optimizer) -> None:
        """Average them as one row of numbers."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        average(parameter.grad for parameter in parameters if parameter.grad is not None)


def check_ranks(recipe: Recipe, objective: PreferenceLoss, execution: ExecutionOptions) -> None:
    """Check that several processes can train what one would.

    Raises:
        BadSetting: For the first setting that forbids it.
    """
    n_processes = size()
    if n_processes == 1:
        return
    if recipe.batch_size % n_processes:
        raise BadSetting(
            "trainer.recipe.batch_size",
            f"is {recipe.batch_size}, which {n_processes} processes can't share evenly: choose a multiple of it.",
        )
    if of_the_whole_batch(objective):
        raise BadSetting(
            "objective",
            f"is {type(objective).__name__}, in which a pair's loss depends on all pairs of its batch: start a single "
            "process.",
        )
    if execution.strategy != "auto":
        raise BadSetting("trainer.execution.strategy", f"is {execution.strategy}: with several processes choose auto.")


@contextmanager
def _others_there() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(
            f"Another process of this training is gone or can't be reached ({str(error).splitlines()[0]}): look above "
            "for its reason, and start the same command again; training goes on from its last checkpoint."
        ) from error
