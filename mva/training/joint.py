"""All value vectors at once: one forward pass for all values, one penalty that knows no order.

    L = sum_i E[ preference_loss(pi_base + theta_i; D_i) ] + strength * sum_{i<j} dependence(theta_i, theta_j)

Every row of a batch is gated to its own value's vector (`models/coefficient_lora.py`). For the penalty every vector is
looked at beside all others, which stay constant: `theta_i` gets the gradient of `sum_{j != i} dependence(theta_i,
theta_j)`. That is the gradient of the sum over pairs where the estimator is symmetric, and of both orientations where
it is not. Gradients are clipped for each vector: at strength 0 the vectors are those of independent training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from mva.data.packing import PreferenceBatch
from mva.estimators.base import LearnedEstimator
from mva.estimators.samples import paired
from mva.models.backbone import Backbone
from mva.models.coefficient_lora import gated, stack
from mva.models.value_vector import LowRank, ValueVector
from mva.seeding import derive_seed
from mva.training.critic import CriticTraining
from mva.training.spec import VectorSpec
from mva.training.steps import History, numbers, optimizer_of, preference, trained_state


class JointModule(LightningModule):
    """Train the vectors `starts` together; the backbone is frozen, and outside of a step exactly the base.

    A batch's `owner` says for each pair which of them it trains; `inputs` are, by value, what the base feeds into the
    modules, where the penalty's view looks at activations.
    """

    def __init__(
        self,
        backbone: Backbone,
        starts: Sequence[ValueVector],
        specs: Sequence[VectorSpec],
        *,
        n_batches: int,
        inputs: Mapping[str, Mapping[str, Tensor]],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.model = backbone.model
        self.specs = tuple(specs)
        self.n_batches = n_batches
        self.history: History = []
        self.strict_loading = False  # checkpoints hold only the trained vectors
        self._starts = tuple(starts)
        self._trained = nn.ParameterDict(
            {name: nn.Parameter(factor.clone()) for i, start in enumerate(starts) for name, factor in _named(i, start)}
        )
        estimator, self._beside = specs[0].decorrelation.estimator, list[Callback]()
        if isinstance(estimator, LearnedEstimator):
            critic = estimator.critic(derive_seed(specs[0].seed, "critic"))
            self._beside = [CriticTraining(critic, estimator.budget, self._paired_samples)]
            estimator = critic
        self._decorrelations = [
            replace(spec.decorrelation.on(inputs.get(spec.value, {})), estimator=estimator) for spec in specs
        ]

    def configure_callbacks(self) -> list[Callback]:
        """Fit the critic between the batches, where the estimator has one: a single one for all pairs of vectors."""
        return self._beside

    def on_train_batch_start(self, _batch: PreferenceBatch, batch_idx: int) -> None:
        """Make every batch's randomness (dropout) a function of seed and step."""
        torch.manual_seed(derive_seed(self.specs[0].seed, "step", batch_idx))

    def training_step(self, batch: PreferenceBatch, batch_idx: int) -> Tensor:
        """Return the scalar loss of one batch: the values' mean preference losses + penalty."""
        losses, chosen, rejected = self._preference(batch)
        factors, owner = self._factors(), _owner(batch)
        total, metrics = losses.new_zeros(()), dict[str, float]()
        for i, spec in enumerate(self.specs):
            mine, (penalty, dependence) = owner == i, self._penalty(i, factors)
            loss = losses[mine].mean() + penalty.to(losses)
            total = total + loss
            found = {
                "loss": loss.detach(),
                "preference_loss": losses[mine].detach().mean(),
                "accuracy": (chosen > rejected)[mine].float().mean(),
                "reward_margin": (chosen - rejected)[mine].mean(),
                "dependence": dependence,
                "penalty": penalty.detach(),
            }
            metrics |= numbers(f"train/{spec.value}", found)
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"The joint loss became {total.item()} at step {batch_idx}: "
                f"lower trainer.learning_rate or penalty.strength."
            )
        self.history.append((batch_idx + 1, metrics))
        return total

    def on_validation_epoch_start(self) -> None:
        """Start a validation pass with nothing collected."""
        self._margins: list[Tensor] = []
        self._owners: list[Tensor] = []

    def validation_step(self, batch: PreferenceBatch, _batch_idx: int) -> None:
        """Collect the implicit reward margins of held-out pairs."""
        _, chosen, rejected = self._preference(batch)
        self._margins.append(chosen - rejected)
        self._owners.append(_owner(batch))

    def on_validation_epoch_end(self) -> None:
        """Report accuracy and mean margin of each vector's implicit reward on its value's held-out pairs."""
        margins, owners, metrics = torch.cat(self._margins), torch.cat(self._owners), dict[str, float]()
        for i, spec in enumerate(self.specs):
            mine = margins[owners == i]
            if not len(mine):
                continue
            found = {"accuracy": (mine > 0).float().mean(), "reward_margin": mine.mean()}
            metrics |= numbers(f"validation/{spec.value}", found)
        self.history.append((self.n_batches, metrics))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over all vectors: its steps know each parameter alone."""
        return optimizer_of(self._trained.values(), self.specs[0].recipe, n_batches=self.n_batches)

    def configure_gradient_clipping(
        self,
        _optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each vector, as in its own training."""
        for i, start in enumerate(self._starts):
            vector = [self._trained[name] for name, _ in _named(i, start)]
            nn.utils.clip_grad_norm_(vector, gradient_clip_val or float("inf"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only what is trained: the frozen base never enters a checkpoint."""
        checkpoint["state_dict"], checkpoint["history"] = trained_state(self), self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the metrics from before the interruption."""
        self.history = list(checkpoint["history"])

    def vectors(self) -> list[ValueVector]:
        """Copy the vectors out."""
        return [
            replace(start, factors={name: _copied(factor) for name, factor in factors.items()})
            for start, factors in zip(self._starts, self._factors(), strict=True)
        ]

    def history_of(self, value: str) -> History:
        """List the metrics of one value's vector."""
        return [
            (step, {name: metric for name, metric in metrics.items() if name.split("/")[1] == value})
            for step, metrics in self.history
        ]

    def _factors(self) -> list[dict[str, LowRank]]:
        return [
            {
                module: LowRank(self._trained[_name(i, module, "a")], self._trained[_name(i, module, "b")], f.scaling)
                for module, f in start.factors.items()
            }
            for i, start in enumerate(self._starts)
        ]

    def _penalty(self, i: int, factors: Sequence[Mapping[str, LowRank]]) -> tuple[Tensor, Tensor]:
        decorrelation, current = self._decorrelations[i], factors[i]
        others = decorrelation.freeze(current, [*factors[:i], *factors[i + 1 :]])
        return decorrelation.against(others, current)

    def _paired_samples(self) -> Iterator[tuple[Any, Any]]:
        factors = self._factors()
        for i, (decorrelation, current) in enumerate(zip(self._decorrelations, factors, strict=True)):
            others = decorrelation.freeze(current, [*factors[:i], *factors[i + 1 :]])
            yield from paired(decorrelation.view, current, others)

    def _preference(self, batch: PreferenceBatch) -> tuple[Tensor, Tensor, Tensor]:
        gate = nn.functional.one_hot(_owner(batch), len(self.specs)).float()
        rows_per_pair = len(batch.input_ids) // len(batch)  # one where pairs are packed, else two, one after the other
        first = self.specs[0]
        dropout = first.lora.dropout if self.training else 0.0
        with gated(stack(self.model, self._factors()), gate.repeat(rows_per_pair, 1), dropout=dropout):
            return preference(self.model, batch, first.objective, split_head=self.backbone.capabilities.split_head)


def _owner(batch: PreferenceBatch) -> Tensor:
    if batch.owner is None:
        raise ValueError("The batch does not say whose pairs it holds: take the data module of joint training.")
    return batch.owner


def _copied(factor: LowRank) -> LowRank:
    return LowRank(factor.a.detach().cpu().clone(), factor.b.detach().cpu().clone(), factor.scaling)


def _named(i: int, vector: ValueVector) -> Iterator[tuple[str, Tensor]]:
    for module, factor in vector.factors.items():
        yield _name(i, module, "a"), factor.a
        yield _name(i, module, "b"), factor.b


def _name(i: int, module: str, side: str) -> str:
    return f"{i}/{module}/{side}".replace(".", "/")  # a ParameterDict takes no dots
