"""Train one value vector, or take it from the store."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, Checkpoint, Timer
from torch import Tensor

from mva.data.datamodule import PreferenceDataModule
from mva.data.tokenized import TokenizedValue
from mva.estimators.activations import Activations
from mva.models.backbone import Backbone
from mva.models.blocks import activations_recomputed
from mva.models.disk import bytes_of, require_space
from mva.models.lora import LoraSpec, attach, detach, extract, start_from
from mva.models.probe import module_inputs
from mva.models.store import Store, key_of
from mva.models.value_vector import ValueVector
from mva.objectives.base import PreferenceLoss
from mva.objectives.decorrelation import Decorrelation
from mva.objectives.modpo import MODPO
from mva.stages import Advance
from mva.training import ranks
from mva.training.callbacks import KeepCheckpoints, Progress, ctrl_c_gets_through, quiet_lightning
from mva.training.checkpoint import LAST, AtomicCheckpointIO, nothing_infinite_stays, usable_checkpoint
from mva.training.joint import JointModule
from mva.training.module import ValueVectorModule
from mva.training.snapshots import Look, Snapshots, TakeSnapshots
from mva.training.spec import ExecutionOptions, Recipe, VectorSpec
from mva.training.stored_vectors import put_vector, stored_vector
from mva.training.task import Margin, Task, no_margin
from mva.training.task_data import TaskData

Log = Callable[[Mapping[str, float], int], None]
Bar = Callable[[str, int], AbstractContextManager[Advance]]


@dataclass(frozen=True)
class VectorFitter:
    """Fit value vectors on one backbone: same recipe and objective, one adapter at a time.

    `log` receives metrics by name with their step (for a vector from the store: those of its training);
    `bar(description, total)` opens a progress bar; `margin(value)` gives the value's reward as a margin.
    """

    backbone: Backbone
    data: Mapping[str, TokenizedValue]
    lora: LoraSpec
    objective: PreferenceLoss
    decorrelation: Decorrelation
    recipe: Recipe
    execution: ExecutionOptions
    store: Store
    seed: int
    log: Log
    bar: Bar
    margin: Callable[[str], Margin] = no_margin

    def __call__(self, task: Task) -> ValueVector:
        """Return the vector of `task`."""
        spec = self.spec(task)
        key = key_of(spec.describe())
        with ranks.by_first(self.store.making("vectors", key, what=f"the vector '{spec.value}'")):
            if not ranks.agreed(lambda: self.snapshots.complete(key)):
                self._train(task, spec, key)
        return self._stored(key)

    def together(self, values: Sequence[str]) -> list[ValueVector]:
        """Return the values' vectors, trained at the same time (with no penalty they don't know of each other)."""
        if self.decorrelation.strength == 0 or len(values) == 1:
            return [self(Task(value)) for value in values]
        pairs = {value: self.data[value].fingerprint for value in values}
        specs = [
            replace(self.spec(Task(value)), together={v: data for v, data in pairs.items() if v != value})
            for value in sorted(values)
        ]
        keys = {spec.value: key_of(spec.describe()) for spec in specs}
        with ranks.by_first(self.store.making("vectors", *keys.values(), what=f"the vectors {', '.join(keys)}")):
            if not ranks.agreed(lambda: all(map(self.snapshots.complete, keys.values()))):
                self._train_together(specs, keys)
        return [self._stored(keys[value]) for value in values]

    @property
    def snapshots(self) -> Snapshots:
        """What the vectors were on their way, as the execution options want it."""
        return Snapshots(self.store, self.execution.snapshot_every)

    def _stored(self, key: str) -> ValueVector:
        """Read a vector from the store, and tell the metrics of its training."""
        vector, history = stored_vector(self.store, key, base=self.backbone.fingerprint)
        for step, metrics in history:
            self.log(metrics, step)
        return vector

    def spec(self, task: Task) -> VectorSpec:
        """Name everything that the vector depends on."""
        data = {value: self.data[value].fingerprint for value in task.weights}
        return VectorSpec(
            value=task.name,
            base=self.backbone.fingerprint,
            data=data if len(data) > 1 else next(iter(data.values())),
            seed=self.seed,
            lora=self.lora,
            objective=MODPO(self.objective, task.margin_weight) if task.margins else self.objective,
            decorrelation=self.decorrelation,
            recipe=self.recipe,
            earlier=tuple(vector.key for vector in task.earlier),
            preferences={} if task.weights == {task.name: 1.0} else task.preferences,
            start=None if task.start is None else task.start.key,
            margins=tuple((vector.key, weight) for vector, weight in task.margins),
            constraint=task.constraint,
        )

    def _train(self, task: Task, spec: VectorSpec, key: str) -> None:
        """Train the vector of `task` and store it."""
        name, device = spec.value, self.backbone.device
        data = self._task_data.module(task, watched=self.execution.validation_pairs)
        inputs = self._inputs(task.name, task.earlier)
        model = attach(self.backbone, self.lora, name=name, seed=spec.vector_seed)
        if task.start is not None:
            start_from(model, name, task.start)
        module = ValueVectorModule(
            model,
            spec,
            earlier=task.earlier,
            n_batches=len(data.train),
            split_head=self.backbone.capabilities.split_head,
            inputs=inputs,
        )

        def look() -> list[ValueVector]:
            return [extract(model, name, base=self.backbone.fingerprint, key=key)]

        try:
            seconds = self._fit(module, data, key, look, name=name)
            (vector,) = look()
        finally:
            detach(model).to(device)  # Lightning leaves the model on the CPU
        history, pairs = module.history, data.train.n_pairs
        ranks.agreed(lambda: put_vector(self.store, vector, history, pairs=pairs, seconds=seconds))

    def _train_together(self, specs: Sequence[VectorSpec], keys: Mapping[str, str]) -> None:
        """Train the vectors of `specs` at the same time and store them, each at its share of the cost."""
        values, device = [spec.value for spec in specs], self.backbone.device
        data = self._task_data.joint_module(values, watched=self.execution.validation_pairs)
        starts = [self._start(spec) for spec in specs]
        inputs = {value: self._inputs(value, starts) for value in values}
        module = JointModule(self.backbone, starts, specs, n_batches=len(data.train), inputs=inputs)

        def look() -> list[ValueVector]:
            return [replace(vector, key=keys[vector.value]) for vector in module.vectors()]

        try:
            seconds = self._fit(module, data, key_of(dict(keys)), look, name=" and ".join(values))
        finally:
            self.backbone.model.to(device)  # Lightning leaves the model on the CPU
        pairs = data.train.n_pairs / len(values)
        for vector in look():
            put = partial(put_vector, self.store, vector, module.history_of(vector.value))
            ranks.agreed(partial(put, pairs=pairs, seconds=seconds / len(values)))

    def _start(self, spec: VectorSpec) -> ValueVector:
        """The fresh vector that the value's own training would start from."""
        model = attach(self.backbone, self.lora, name=spec.value, seed=spec.vector_seed)
        try:
            return extract(model, spec.value, base=self.backbone.fingerprint)
        finally:
            detach(model)

    def _fit(self, module: LightningModule, data: PreferenceDataModule, key: str, look: Look, *, name: str) -> float:
        """Train, going on from an unfinished training; returns the seconds that it took."""
        unfinished, timer = self.store.root / "unfinished" / key, Timer(verbose=False)
        self._check_space(module, name)
        with ranks.by_first(self.store.making("unfinished", key, what=f"the training of {name}")):
            self.store.annotate("unfinished", key, what=f"the training of {name}")
            checkpoint = ranks.agreed(lambda: usable_checkpoint(unfinished))
            with self.bar(f"Training, {name}", len(data.train)) as advance, quiet_lightning():
                trainer = self._trainer(unfinished, Progress(advance), timer, TakeSnapshots(self.snapshots, look))
                recomputed = activations_recomputed(self.backbone.model, active=self.execution.checkpoint_activations)
                with ctrl_c_gets_through(trainer), nothing_infinite_stays(unfinished), recomputed:
                    own, begin = ranks.share_of(data), None if checkpoint is None else str(checkpoint)
                    trainer.fit(module, datamodule=own, ckpt_path=begin)
                    if len(data.validation):
                        trainer.validate(module, datamodule=data, verbose=False)
            ranks.agreed(lambda: shutil.rmtree(unfinished, ignore_errors=True))
        return round(timer.time_elapsed("train"), 2)

    def _check_space(self, module: LightningModule, name: str) -> None:
        """Refuse to train what finds no place: the vector; two checkpoints and a draft, with AdamW's two moments."""
        trained = bytes_of(parameter for parameter in module.parameters() if parameter.requires_grad)
        copies = 1 + 3 * 3 if self.execution.checkpoint_every else 1
        require_space(self.store.root, copies * trained, what=f"The training of '{name}'")

    @property
    def _task_data(self) -> TaskData:
        beta = float(getattr(self.objective, "beta", 1.0))
        return TaskData(
            self.backbone,
            self.data,
            self.recipe,
            beta,
            store=self.store,
            seed=self.seed,
            bar=self.bar,
            tokens=self.execution.token_budget(self.backbone),
        )

    def _inputs(self, value: str, others: Sequence[ValueVector]) -> dict[str, Tensor]:
        """What the modules are fed with while the base reads this value's responses, if the penalty asks for it."""
        view, modules = self.decorrelation.view, {name for vector in others for name in vector.factors}
        if not isinstance(view, Activations) or not modules:
            return {}
        return module_inputs(self.backbone, self.data[value].train, modules, tokens=view.tokens)

    def _trainer(self, unfinished: Path, *callbacks: Callback) -> Trainer:
        execution = self.execution
        if execution.checkpoint_every:
            callbacks = (*callbacks, KeepCheckpoints(unfinished / LAST, every=execution.checkpoint_every))
        callbacks = (ranks.AverageGradients(), *ranks.allowed(callbacks, first_alone=(KeepCheckpoints, TakeSnapshots)))
        return Trainer(
            accelerator=execution.accelerator,
            devices=execution.devices,  # type: ignore[arg-type]  # any sequence: Lightning checks it itself
            strategy=execution.strategy,
            precision=execution.precision_on(self.backbone),
            max_epochs=1,  # the data module's one epoch is the whole training
            check_val_every_n_epoch=2,  # never: validation comes after it, also where the last checkpoint is complete
            callbacks=list(callbacks),
            plugins=[AtomicCheckpointIO(), ranks.alone()],
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            logger=False,
        )
