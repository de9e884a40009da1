"""What the training of one vector and of all vectors at once have in common: the loss of a batch, the optimizer."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mva.data.packing import PreferenceBatch
from mva.models.log_probs import response_lengths, sequence_log_probs
from mva.objectives.base import PreferenceLoss, length_normalised
from mva.training.spec import Recipe

History = list[tuple[int, dict[str, float]]]
"""Metrics by name, with the step that they belong to."""


def preference(
    model: nn.Module, batch: PreferenceBatch, objective: PreferenceLoss, *, split_head: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the objective's `(losses, chosen_rewards, rejected_rewards)` of a batch. Shape: `(n,)` each.

    Raises:
        ValueError: If the batch carries no reference log-probs.
    """
    policy = sequence_log_probs(model, batch, split_head=split_head)
    if batch.reference is None:
        raise ValueError("The batch carries no reference log-probs: give the data module the cached ones.")
    chosen, rejected = batch.reference.unbind(1)
    if length_normalised(objective):
        sizes = response_lengths(batch)
        policy = policy[0] / sizes[0], policy[1] / sizes[1]
        chosen, rejected = chosen / sizes[0], rejected / sizes[1]
    return objective(*policy, chosen, rejected)


def optimizer_of(parameters: Iterable[nn.Parameter], recipe: Recipe, *, n_batches: int) -> OptimizerLRSchedulerConfig:
    """Make AdamW over the parameters, with the recipe's schedule per optimizer step."""
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.95)
    )
    total = -(-n_batches // recipe.accumulate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.learning_rate_factor(step, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def trained_state(module: LightningModule) -> dict[str, Any]:
    """What a checkpoint holds: the frozen base never enters it."""
    return {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad}


def numbers(prefix: str, metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """Turn metrics into plain numbers, by their whole names."""
    return {f"{prefix}/{name}": metric.item() for name, metric in metrics.items()}
