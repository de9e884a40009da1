"""What the training of one vector and of all vectors at once have in common: the loss of a batch, the optimizer."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mva.data.datamodule import Step
from mva.data.packing import PreferenceBatch
from mva.models.log_probs import response_lengths
from mva.objectives.base import PreferenceLoss, length_normalised, of_the_whole_batch
from mva.training.ranks import average
from mva.training.spec import Recipe

History = list[tuple[int, dict[str, float]]]
"""Metrics by name, with the step that they belong to."""
READ_EVERY = 10


def parts_of(step: Step, objective: PreferenceLoss) -> list[Step]:
    """Cut a step into what can be computed apart: its micro-batches, unless a pair's loss depends on all pairs."""
    return [step] if of_the_whole_batch(objective) else [[batch] for batch in step]


def preference(
    step: Step, objective: PreferenceLoss, log_probs: Callable[[PreferenceBatch], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the objective's `(losses, chosen_rewards, rejected_rewards)`. Shape: `(n,)` each, over all micro-batches.

    Raises:
        ValueError: If a batch carries no reference log-probs.
    """
    terms: list[tuple[Tensor, ...]] = []
    for batch in step:
        if batch.reference is None:
            raise ValueError("The batch carries no reference log-probs: give the data module the cached ones.")
        both = (*log_probs(batch), *batch.reference.unbind(1))
        if length_normalised(objective):
            both = tuple(total / size for total, size in zip(both, response_lengths(batch) * 2, strict=True))
        terms.append(both)
    return objective(*map(torch.cat, zip(*terms, strict=True)))


def optimizer_of(parameters: Iterable[nn.Parameter], recipe: Recipe, *, n_batches: int) -> OptimizerLRSchedulerConfig:
    """Make AdamW over the parameters, with the recipe's schedule per optimizer step."""
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.95)
    )
    total = -(-n_batches // recipe.accumulate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.learning_rate_factor(step, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def descend(module: LightningModule, parts: Iterable[Tensor], *, recipe: Recipe, batch: int, n_batches: int) -> None:
    """Add up the gradients of a batch's `parts`; take an optimizer step where it is the last of those that make one up.

    Each part's graph is gone before the next part is computed.
    """
    for part in parts:
        if part.requires_grad:
            module.manual_backward(part / recipe.accumulate)
    if (batch + 1) % recipe.accumulate and batch + 1 != n_batches:
        return
    optimizer: Any = module.optimizers()
    schedule: Any = module.lr_schedulers()
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()


def full_precision(device: torch.device) -> torch.autocast:
    """Compute in the tensors' own precision, also where training is mixed: an estimate is a small difference."""
    return torch.autocast(device.type, enabled=False)


def trained_state(module: LightningModule) -> dict[str, Any]:
    """What a checkpoint holds: the frozen base never enters it."""
    return {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad}


class Journal:
    """The metrics of a training, collected where they are computed and read in one go every `READ_EVERY` steps.

    A number that is read at every step makes the host wait for the device.

    Args:
        advice: What to do where a loss is not finite.
    """

    def __init__(self, advice: str) -> None:
        self._advice = advice
        self._lines: History = []
        self._unread: list[tuple[int, dict[str, Tensor]]] = []

    def add(self, step: int, metrics: Mapping[str, Tensor]) -> None:
        """Take down metrics, by their whole names, which all lie on one device.

        Raises:
            FloatingPointError: As `lines` does.
        """
        means = {name: metric.detach().clone() for name, metric in metrics.items()}
        average(means.values())  # over several processes' shares of the pairs, if there are several
        self._unread.append((step, means))
        if len(self._unread) >= READ_EVERY:
            self.lines()

    def lines(self) -> History:
        """Read all metrics.

        Raises:
            FloatingPointError: If a loss was not finite, with the first batch in which it wasn't.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return self._lines
        numbers = iter(torch.cat([metric.reshape(1) for _, metrics in unread for metric in metrics.values()]).tolist())
        for step, metrics in unread:
            line = {name: next(numbers) for name in metrics}
            for name, number in line.items():
                if name.endswith("/loss") and not math.isfinite(number):
                    value = name.split("/")[1]
                    raise FloatingPointError(
                        f"The loss of '{value}' became {number} at step {step - 1}: {self._advice}."
                    )
            self._lines.append((step, line))
        return self._lines

    def go_on(self, lines: Iterable[tuple[int, dict[str, float]]]) -> None:
        """Begin with the metrics from before an interruption."""
        self._lines, self._unread = list(lines), []
