"""All value vectors at once: one forward pass for all values, one penalty that knows no order.

    L = sum_i E[ preference_loss(pi_base + theta_i; D_i) ] + strength * sum_{i<j} dependence(theta_i, theta_j)

Every row of a batch is gated to its own value's vector (`models/coefficient_lora.py`). For the penalty every vector is
looked at beside all others, which stay constant: `theta_i` gets the gradient of `sum_{j != i} dependence(theta_i,
theta_j)`. That is the gradient of the sum over pairs where the estimator is symmetric, and of both orientations where
it is not. Gradients are clipped for each vector: at strength 0 the vectors are those of independent training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from mva.data.datamodule import Step
from mva.data.packing import PreferenceBatch
from mva.estimators.base import LearnedEstimator
from mva.estimators.samples import paired
from mva.models.backbone import Backbone
from mva.models.coefficient_lora import gated, stack
from mva.models.keyed_dropout import Dropout
from mva.models.log_probs import sequence_log_probs
from mva.models.value_vector import LowRank, ValueVector
from mva.seeding import derive_seed
from mva.training.critic import CriticTraining
from mva.training.spec import VectorSpec
from mva.training.steps import (
    History,
    Journal,
    descend,
    full_precision,
    optimizer_of,
    parts_of,
    preference,
    trained_state,
)


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
        self.automatic_optimization = False  # a step's micro-batches have a backward pass each
        self._journal = Journal("lower trainer.learning_rate or penalty.strength")
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

    @property
    def history(self) -> History:
        """The metrics so far.

        Raises:
            FloatingPointError: If a loss was not finite.
        """
        return self._journal.lines()

    def on_train_batch_start(self, _step: Step, batch_idx: int) -> None:
        """Make every batch's randomness a function of seed and step."""
        torch.manual_seed(derive_seed(self.specs[0].seed, "step", batch_idx))

    def training_step(self, batch: Step, batch_idx: int) -> None:
        """Add up the gradient of a step, and take an optimizer step where one is due."""
        parts = self.losses(batch, batch_idx)
        descend(self, parts, recipe=self.specs[0].recipe, batch=batch_idx, n_batches=self.n_batches)

    def losses(self, step: Step, number: int) -> Iterator[Tensor]:
        """Give scalars whose sum is the step's loss: each value's mean preference loss + penalty."""
        belongs = nn.functional.one_hot(_owners(step), len(self.specs))
        n_pairs, of_pairs = belongs.sum(dim=0), list[tuple[Tensor, Tensor]]()
        for part in parts_of(step, self.specs[0].objective):
            losses, chosen, rejected = self._preference(part, number)
            of_pairs.append((losses.detach(), chosen - rejected))
            yield (losses / n_pairs[_owners(part)]).sum()
        losses, margins = map(torch.cat, zip(*of_pairs, strict=True))
        share = belongs.to(losses) / n_pairs
        means = [column @ share for column in (losses, (margins > 0).to(losses), margins)]
        factors, metrics = self._factors(), dict[str, Tensor]()
        for i, spec in enumerate(self.specs):
            with full_precision(self.device):
                penalty, dependence = self._penalty(i, factors)
            yield penalty
            loss, accuracy, margin = (mean[i] for mean in means)
            penalty = penalty.detach().to(loss)
            named = {"loss": loss + penalty, "preference_loss": loss, "accuracy": accuracy, "reward_margin": margin}
            named |= {"dependence": dependence, "penalty": penalty}
            metrics |= {f"train/{spec.value}/{name}": metric for name, metric in named.items()}
        self._journal.add(number + 1, metrics)

    def on_validation_epoch_start(self) -> None:
        """Start a validation pass with nothing collected."""
        self._margins: list[Tensor] = []
        self._owners: list[Tensor] = []

    def validation_step(self, batch: Step, _batch_idx: int) -> None:
        """Collect the implicit reward margins of held-out pairs."""
        _, chosen, rejected = self._preference(batch)
        self._margins.append(chosen - rejected)
        self._owners.append(_owners(batch))

    def on_validation_epoch_end(self) -> None:
        """Report accuracy and mean margin of each vector's implicit reward on its value's held-out pairs."""
        margins, owners, metrics = torch.cat(self._margins), torch.cat(self._owners), dict[str, Tensor]()
        for i, spec in enumerate(self.specs):
            mine = margins[owners == i]
            if not len(mine):
                continue
            name = f"validation/{spec.value}"
            metrics |= {f"{name}/accuracy": (mine > 0).float().mean(), f"{name}/reward_margin": mine.mean()}
        self._journal.add(self.n_batches, metrics)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over all vectors: its steps know each parameter alone."""
        return optimizer_of(self._trained.values(), self.specs[0].recipe, n_batches=self.n_batches)

    def on_before_optimizer_step(self, _optimizer: Optimizer) -> None:
        """Clip the gradient of each vector, as in its own training."""
        if norm := self.specs[0].recipe.max_grad_norm:
            for i, start in enumerate(self._starts):
                nn.utils.clip_grad_norm_([self._trained[name] for name, _ in _named(i, start)], norm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only what is trained: the frozen base never enters a checkpoint."""
        checkpoint["state_dict"], checkpoint["history"] = trained_state(self), self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the metrics from before the interruption."""
        self._journal.go_on(checkpoint["history"])

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

    def _preference(self, step: Step, number: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        return preference(step, self.specs[0].objective, partial(self._log_probs, number=number))

    def _dropout(self, batch: PreferenceBatch, number: int) -> Dropout | None:
        """What each vector's own training drops of its pairs at this step."""
        rate = self.specs[0].lora.dropout
        if not (self.training and rate):
            return None
        seeds = torch.tensor([spec.vector_seed for spec in self.specs], device=self.device)
        return Dropout(rate, batch.token_keys(seeds[_owner(batch)], number, 0))

    def _log_probs(self, batch: PreferenceBatch, *, number: int) -> tuple[Tensor, Tensor]:
        gate = nn.functional.one_hot(_owner(batch), len(self.specs)).float()
        dropout = self._dropout(batch, number)
        with gated(stack(self.model, self._factors()), batch.by_token(gate), dropout=dropout):
            return sequence_log_probs(self.model, batch, split_head=self.backbone.capabilities.split_head)


def _owners(step: Step) -> Tensor:
    return torch.cat([_owner(batch) for batch in step])


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
