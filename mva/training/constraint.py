"""Hard constraints on a vector while it is trained: it is projected after every step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from mva.models.value_vector import LowRank

Factors = Mapping[str, LowRank]


class Constraint(Protocol):
    """A set that a vector is held to, as a frozen dataclass of settings: part of the vector's identity.

    A constraint whose `acts_on` is "gradient" is applied before every optimizer step, to the factors' gradients.
    """

    def prepare(self, earlier: Sequence[Factors]) -> Callable[[Factors], None]:
        """Look at the earlier vectors once; return what projects the current one onto the set, in place.

        To project twice is to project once.
        """
        ...


class Projection(Callback):
    """Project the trained vector before training and after every batch: projected gradient descent."""

    def __init__(self, constraint: Constraint, earlier: Sequence[Factors], current: Callable[[], Factors]) -> None:
        self._constraint, self._earlier, self._current = constraint, earlier, current

    def on_train_start(self, trainer: Trainer, _module: LightningModule) -> None:
        """Prepare where the training takes place."""
        device = trainer.strategy.root_device
        earlier = [{name: factor.to(device) for name, factor in factors.items()} for factors in self._earlier]
        self._project = self._constraint.prepare(earlier)

    @torch.no_grad()
    def on_before_optimizer_step(self, *_arguments: Any) -> None:
        """Project the gradients, if the constraint acts on them."""
        if self._on_gradients:
            self._project(self._current())

    @torch.no_grad()
    def on_train_batch_end(self, *_arguments: Any) -> None:
        """Project the vector, if the constraint acts on it."""
        if not self._on_gradients:
            self._project(self._current())

    @property
    def _on_gradients(self) -> bool:
        return getattr(self._constraint, "acts_on", "vector") == "gradient"
