"""The training objective of one value vector, as a LightningModule.

    L_i = E[ preference_loss(pi_base + theta_i; D_i) ] + strength * sum_{j<i} dependence(theta_i, theta_j)

(arXiv 2511.17579, Sec. 4.1; the earlier vectors theta_j are frozen.) The policy is the base with only
theta_i active; the reference policy is the base with all vectors off, whose log-probs come with the batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from mva.data.datamodule import Step
from mva.data.packing import PreferenceBatch
from mva.estimators.base import LearnedEstimator
from mva.estimators.samples import FrozenSamples, paired
from mva.models.keyed_dropout import Dropout, dropping
from mva.models.log_probs import sequence_log_probs
from mva.models.lora import live_factors
from mva.models.value_vector import LowRank, ValueVector
from mva.seeding import derive_seed
from mva.training.constraint import Projection
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


class ValueVectorModule(LightningModule):
    """Train the LoRA adapter `spec.value` of `model`; everything else of the model is frozen.

    `inputs` are what the base feeds into the modules, by name, where the penalty's view looks at activations.
    """

    def __init__(
        self,
        model: PeftModel,
        spec: VectorSpec,
        *,
        earlier: Sequence[ValueVector],
        n_batches: int,
        split_head: bool,
        inputs: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.earlier = [dict(vector.factors) for vector in earlier]
        self.n_batches = n_batches
        self.split_head = split_head
        self.automatic_optimization = False  # a step's micro-batches have a backward pass each
        self._journal = Journal("lower trainer.learning_rate or penalty.strength")
        self.strict_loading = False  # checkpoints hold only the trained adapter
        self.decorrelation = spec.decorrelation.on(inputs)
        self._beside: list[Callback] = []
        learned = spec.decorrelation.estimator
        if isinstance(learned, LearnedEstimator) and spec.decorrelation.acts_on(self.earlier):
            critic = learned.critic(derive_seed(spec.vector_seed, "critic"))
            self.decorrelation = replace(self.decorrelation, estimator=critic)
            self._beside = [CriticTraining(critic, learned.budget, self._paired_samples)]

        if spec.constraint is not None:
            self._beside.append(Projection(spec.constraint, self.earlier, self._factors))

    def on_fit_start(self) -> None:
        """Bring the frozen earlier vectors to where the trained one lies; with mixed precision autocast alone casts."""
        for layer in self.model.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.cast_input_dtype_enabled = self.trainer.precision == "32-true"
        self.earlier = [{name: f.to(self.device) for name, f in factors.items()} for factors in self.earlier]

    def configure_callbacks(self) -> list[Callback]:
        """Fit the critic between the batches, where the estimator has one; project where there is a constraint."""
        return self._beside

    @property
    def history(self) -> History:
        """The metrics so far.

        Raises:
            FloatingPointError: If a loss was not finite.
        """
        return self._journal.lines()

    def on_train_batch_start(self, _step: Step, batch_idx: int) -> None:
        """Make every batch's randomness a function of seed and step, so that a resumed run is the same."""
        torch.manual_seed(derive_seed(self.spec.vector_seed, "step", batch_idx))

    def training_step(self, batch: Step, batch_idx: int) -> None:
        """Add up the gradient of a step, and take an optimizer step where one is due."""
        parts = self.losses(batch, batch_idx)
        descend(self, parts, recipe=self.spec.recipe, batch=batch_idx, n_batches=self.n_batches)

    def losses(self, step: Step, number: int) -> Iterator[Tensor]:
        """Give, one after the other, scalars whose sum is the step's loss: mean preference loss + penalty.

        A micro-batch's part is its pairs' losses over the number of the step's pairs, so that the sum does not depend
        on how the step is cut.
        """
        n_pairs, of_pairs = sum(map(len, step)), list[tuple[Tensor, Tensor]]()
        for part in parts_of(step, self.spec.objective):
            losses, chosen, rejected = self._preference(part, number)
            of_pairs.append((losses.detach(), chosen - rejected))
            yield losses.sum() / n_pairs
        losses, margins = map(torch.cat, zip(*of_pairs, strict=True))
        metrics = {"loss": losses.mean(), "preference_loss": losses.mean(), **_of_margins(margins)}
        if self.decorrelation.acts_on(self.earlier):
            with full_precision(self.device):
                penalty, dependence = self.decorrelation.against(self._earlier_samples, self._factors())
            yield penalty
            penalty = penalty.detach()
            metrics |= {"loss": losses.mean() + penalty.to(losses), "dependence": dependence, "penalty": penalty}
        self._track("train", metrics, number + 1)

    def on_validation_epoch_start(self) -> None:
        """Start a validation pass with nothing collected."""
        self._margins: list[Tensor] = []

    def validation_step(self, batch: Step, _batch_idx: int) -> None:
        """Collect the implicit reward margins of held-out pairs."""
        _, chosen, rejected = self._preference(batch)
        self._margins.append(chosen - rejected)

    def on_validation_epoch_end(self) -> None:
        """Report accuracy and mean margin of the implicit reward on the held-out pairs."""
        self._track("validation", _of_margins(torch.cat(self._margins)), self.n_batches)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over the adapter's parameters, with the recipe's schedule per optimizer step."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return optimizer_of(trained, self.spec.recipe, n_batches=self.n_batches)

    def on_before_optimizer_step(self, _optimizer: Optimizer) -> None:
        """Clip the gradient, after the constraints' callbacks have seen it."""
        if norm := self.spec.recipe.max_grad_norm:
            trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
            nn.utils.clip_grad_norm_(trained, norm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only what is trained: the frozen base never enters a checkpoint."""
        checkpoint["state_dict"] = trained_state(self)
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the metrics from before the interruption."""
        self._journal.go_on(checkpoint["history"])

    def _factors(self) -> dict[str, LowRank]:
        return live_factors(self.model, self.spec.value)

    @cached_property
    def _earlier_samples(self) -> list[FrozenSamples]:
        """The earlier vectors never change: they are looked at once, where training takes place."""
        return self.decorrelation.freeze(self._factors(), self.earlier)

    def _paired_samples(self) -> Iterator[tuple[Any, Any]]:
        return paired(self.decorrelation.view, self._factors(), self._earlier_samples)

    def _preference(self, step: Step, number: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        return preference(step, self.spec.objective, partial(self._log_probs, number=number))

    def _log_probs(self, batch: PreferenceBatch, *, number: int) -> tuple[Tensor, Tensor]:
        rate = self.spec.lora.dropout
        if not (self.training and rate):
            return sequence_log_probs(self.model, batch, split_head=self.split_head)
        owner = 0 if batch.owner is None else batch.owner
        dropout = Dropout(rate, batch.token_keys(self.spec.vector_seed, number, owner))
        with dropping(self.model, self.spec.value, dropout):
            return sequence_log_probs(self.model, batch, split_head=self.split_head)

    def _track(self, stage: str, metrics: Mapping[str, Tensor], step: int) -> None:
        self._journal.add(step, {f"{stage}/{self.spec.value}/{name}": metric for name, metric in metrics.items()})


def _of_margins(margins: Tensor) -> dict[str, Tensor]:
    """Describe the implicit reward margins of some pairs."""
    return {"accuracy": (margins > 0).float().mean(), "reward_margin": margins.mean()}
