"""Train one value vector, or take it from the store."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from mva.data.datamodule import PreferenceDataModule, Rows, StepIndexedBatches, batches_in_order, shuffled_batches
from mva.data.packing import PreferenceBatch
from mva.data.tokenization import TokenizedPair
from mva.data.tokenized import TokenizedValue
from mva.estimators.activations import Activations
from mva.fingerprint import fingerprint
from mva.models.adapter_files import load_adapter, save_adapter
from mva.models.backbone import Backbone
from mva.models.log_probs import make_batch
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.models.probe import module_inputs
from mva.models.reference import reference_log_probs
from mva.models.store import Store, key_of
from mva.models.value_vector import ValueVector
from mva.objectives.base import PreferenceLoss
from mva.objectives.decorrelation import Decorrelation
from mva.seeding import derive_seed
from mva.stages import Advance
from mva.training.callbacks import Progress, ctrl_c_gets_through, quiet_lightning
from mva.training.checkpoint import AtomicCheckpointIO
from mva.training.module import History, ValueVectorModule
from mva.training.spec import ExecutionOptions, Recipe, VectorSpec

Log = Callable[[Mapping[str, float], int], None]
Bar = Callable[[str, int], AbstractContextManager[Advance]]


@dataclass(frozen=True)
class VectorFitter:
    """Fit value vectors on one backbone: same recipe and objective, one adapter at a time.

    `log` receives metrics by name with their step (for a vector from the store: those of its training);
    `bar(description, total)` opens a progress bar.
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

    def __call__(self, value: str, *, earlier: Sequence[ValueVector]) -> ValueVector:
        """Return the vector of `value`, decorrelated from `earlier`."""
        spec = self.spec(value, earlier)
        key = key_of(spec.describe())
        stored = self.store.get("vectors", key)
        if stored is None:
            vector, history = self._train(spec, key, earlier)
            stored = self.store.put("vectors", key, lambda folder: _write(folder, vector, history))
        for step, metrics in json.loads((stored / "history.json").read_text(encoding="utf-8")):
            self.log(metrics, step)
        return load_adapter(stored, expect_base=self.backbone.fingerprint)

    def spec(self, value: str, earlier: Sequence[ValueVector]) -> VectorSpec:
        """Name everything that the vector depends on."""
        data = self.data[value]
        return VectorSpec(
            value=value,
            base=self.backbone.fingerprint,
            data=fingerprint([[pair.prompt, pair.chosen, pair.rejected] for pair in data.train]),
            seed=self.seed,
            lora=self.lora,
            objective=self.objective,
            decorrelation=self.decorrelation,
            recipe=self.recipe,
            earlier=tuple(vector.key for vector in earlier),
        )

    def _train(self, spec: VectorSpec, key: str, earlier: Sequence[ValueVector]) -> tuple[ValueVector, History]:
        value, device = spec.value, self.backbone.device
        data, inputs = self._data_module(spec), self._inputs(spec, earlier)
        model = attach(self.backbone, self.lora, name=value, seed=spec.vector_seed)
        module = ValueVectorModule(
            model,
            spec,
            earlier=earlier,
            n_batches=len(data.train),
            split_head=self.backbone.capabilities.split_head,
            inputs=inputs,
        )
        unfinished = self.store.root / "unfinished" / key
        try:
            with self.bar(f"Training, {value}", len(data.train)) as advance, quiet_lightning():
                last = unfinished / "last.ckpt"
                trainer = self._trainer(unfinished, Progress(advance))
                with ctrl_c_gets_through(trainer):
                    trainer.fit(module, datamodule=data, ckpt_path=str(last) if last.exists() else None)
                    if len(data.validation):
                        trainer.validate(module, datamodule=data, verbose=False)
            vector = extract(model, value, base=self.backbone.fingerprint, key=key)
        finally:
            detach(model).to(device)  # Lightning leaves the model on the CPU
        shutil.rmtree(unfinished, ignore_errors=True)
        return vector, module.history

    def _inputs(self, spec: VectorSpec, earlier: Sequence[ValueVector]) -> dict[str, Tensor]:
        """What the modules are fed with while the base reads this value's responses, if the penalty asks for it."""
        view, modules = spec.decorrelation.view, {name for vector in earlier for name in vector.factors}
        if not isinstance(view, Activations):
            return {}
        return module_inputs(self.backbone, self.data[spec.value].train, modules, tokens=view.tokens)

    def _data_module(self, spec: VectorSpec) -> PreferenceDataModule:
        data, size = self.data[spec.value], self.recipe.batch_size
        steps, seed = self.recipe.batches(len(data.train)), derive_seed(spec.vector_seed, "order")
        watched = data.validation[: self.execution.validation_pairs]
        return PreferenceDataModule(
            self._batches(spec.value, data.train, shuffled_batches(len(data.train), size, n_steps=steps, seed=seed)),
            self._batches(spec.value, watched, batches_in_order(len(watched), size)),
        )

    def _batches(self, value: str, pairs: Sequence[TokenizedPair], rows: Rows) -> StepIndexedBatches:
        """Find the reference log-probs of the pairs that come in a batch; the others stay NaN, never asked for."""
        used = sorted(set(chain.from_iterable(rows)))
        reference = torch.full((len(pairs), 2), torch.nan)
        with self.bar(f"Reference log-probs, {value}", len(used)) as advance:
            found = reference_log_probs(self.backbone, [pairs[row] for row in used], self.store, advance=advance)
        reference[used] = found
        return StepIndexedBatches(pairs, reference, rows, self._layout)

    def _layout(self, pairs: Sequence[TokenizedPair]) -> PreferenceBatch:
        backbone = self.backbone
        able, dtype = backbone.capabilities, backbone.model.dtype
        return make_batch(pairs, pad_id=backbone.pad_id, capabilities=able, dtype=dtype)

    def _trainer(self, unfinished: Path, *callbacks: Callback) -> Trainer:
        execution = self.execution
        if execution.checkpoint_every:
            every = execution.checkpoint_every
            keep = ModelCheckpoint(unfinished, "last", every_n_train_steps=every, enable_version_counter=False)
            callbacks = (*callbacks, keep)
        return Trainer(
            accelerator=execution.accelerator,
            devices=execution.devices,  # type: ignore[arg-type]
            strategy=execution.strategy,
            precision=execution.precision,  # type: ignore[arg-type]
            max_epochs=1,  # the data module's one epoch is the whole training
            check_val_every_n_epoch=2,  # never: validation comes after it, also where the last checkpoint is complete
            accumulate_grad_batches=self.recipe.accumulate,
            gradient_clip_val=self.recipe.max_grad_norm,
            callbacks=list(callbacks),
            plugins=[AtomicCheckpointIO()],
            enable_checkpointing=bool(execution.checkpoint_every),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            logger=False,
        )


def _write(folder: Path, vector: ValueVector, history: History) -> None:
    save_adapter(vector, folder)
    (folder / "history.json").write_text(json.dumps(history), encoding="utf-8")
