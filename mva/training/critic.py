"""The critic of a learned estimator is fitted between the batches, by an optimizer of its own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from mva.estimators.base import Critic, CriticBudget
from mva.estimators.learned import adam, check_bound, fit

Samples = Callable[[], Iterable[tuple[Tensor, Tensor]]]


class CriticTraining(Callback):
    """Fit a critic to the vectors as they are before every batch; the first time with the warm-up.

    The critic's parameters take gradients from its own objective alone, and give none to the trained vector: `fit`
    takes the samples as constants, and between fits the critic is frozen. A fit is a function of the samples and of
    what the checkpoint keeps, so that a resumed training goes on bit for bit.

    Args:
        critic: Fitted in place.
        budget: How.
        samples: Gives the batches of paired samples as they are now.
    """

    def __init__(self, critic: Critic, budget: CriticBudget, samples: Samples) -> None:
        self._critic, self._budget, self._samples = critic, budget, samples
        self._optimizer = adam(critic, budget.learning_rate)
        self._warm = False
        critic.requires_grad_(False)

    def setup(self, trainer: Trainer, _module: LightningModule, stage: str) -> None:
        """Bring the critic to the device before a checkpoint is loaded into it and its optimizer."""
        self._critic.to(trainer.strategy.root_device, torch.float32)

    def on_train_batch_start(self, *_arguments: Any) -> None:
        """Fit the critic.

        Raises:
            FloatingPointError: If its loss or its bound is not finite, or beyond anything that samples could share.
        """
        batches = [(x.detach(), y) for x, y in self._samples()]
        fit(self._critic, self._optimizer, batches, steps=self._budget.steps if self._warm else self._budget.warmup)
        self._warm = True
        with torch.no_grad():
            for x, y in batches:
                check_bound(self._critic, self._critic(x, y))

    def state_dict(self) -> dict[str, Any]:
        """Keep the critic, its optimizer, and that it is warm."""
        state = {"critic": self._critic.state_dict(), "optimizer": self._optimizer.state_dict()}
        return {**state, "warm": self._warm}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        self._critic.load_state_dict(state_dict["critic"])
        self._optimizer.load_state_dict(dict(state_dict["optimizer"]))
        self._warm = state_dict["warm"]
