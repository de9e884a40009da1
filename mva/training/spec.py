"""What determines a value vector (hashed) and what merely carries the training out (not hashed)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import torch
from pytorch_lightning.strategies import StrategyRegistry

from mva.checks import BadSetting, Bounds, Count, CountFrom0, NotNegative, Positive, Share, check, shown
from mva.fingerprint import describe
from mva.models.backbone import Backbone
from mva.models.lora import LoraSpec
from mva.objectives.base import PreferenceLoss
from mva.objectives.decorrelation import Decorrelation
from mva.seeding import derive_seed
from mva.training.constraint import Constraint

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
Mixed = Literal["32-true", "bf16-mixed", "16-mixed"]
Schedule = Literal["constant", "linear", "cosine"]
_DROPOUT = "keyed"  # by token and feature, whatever the layout; before, by the order in which a layout asks torch


@dataclass(frozen=True)
class Recipe:
    """The optimisation of one value vector: AdamW with warm-up and a decaying learning rate.

    `steps` counts batches; where it is None they follow from `epochs`. `batch_size` counts preference
    pairs; `accumulate` batches make one optimizer step. `warmup` is a fraction of the optimizer steps.
    """

    steps: Count | None = None
    epochs: Annotated[float, Bounds(0, 10_000, above=True)] = 3.0
    batch_size: Count = 2
    accumulate: Count = 1
    learning_rate: Positive = 1e-5
    schedule: Schedule = "cosine"
    warmup: Share = 0.1
    weight_decay: NotNegative = 0.0
    max_grad_norm: NotNegative = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def batches(self, n_pairs: int) -> int:
        """Count the batches that a training set of `n_pairs` pairs gets."""
        return self.steps or max(1, math.ceil(self.epochs * n_pairs / self.batch_size))

    def learning_rate_factor(self, step: int, total: int) -> float:
        """Scale the learning rate at optimizer step `step` of `total`: linear warm-up, then the schedule to 0."""
        warmup = math.ceil(self.warmup * total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1, total - warmup)
        factors = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
        return factors[self.schedule]


@dataclass(frozen=True)
class VectorSpec:
    """Everything that a value vector's numbers depend on; its hash is the vector's address in the store.

    A penalty that can't act (strength 0, or no earlier vector) is left out, so that a sweep over
    penalty strengths trains the first vector once and independent training shares its vectors with it.
    `data` hashes the pairs, by value where there are several; `start` is the key of the vector that training goes on
    from, `margins` are keys and weights of the vectors whose rewards are margins; `together` hashes, by value, the
    pairs of the values whose vectors are trained at the same time.
    """

    value: str
    base: str
    data: str | Mapping[str, str]
    seed: int
    lora: LoraSpec
    objective: PreferenceLoss
    decorrelation: Decorrelation
    recipe: Recipe
    earlier: tuple[str, ...] = ()
    preferences: Mapping[str, float] = field(default_factory=dict)
    start: str | None = None
    margins: tuple[tuple[str, float], ...] = ()
    constraint: Constraint | None = None
    together: Mapping[str, str] = field(default_factory=dict)

    @property
    def vector_seed(self) -> int:
        """The seed of this value's own streams: initial factors, order of the data, dropout."""
        return derive_seed(self.seed, "vector", self.value)

    def describe(self) -> dict[str, Any]:
        """List the specification as plain JSON-able data."""
        penalised = bool(self.earlier or self.together) and self.decorrelation.strength != 0
        bound = penalised or self.constraint is not None
        return {
            "value": self.value,
            "base": self.base,
            "data": self.data,
            "seed": self.seed,
            "lora": asdict(self.lora),
            **({"dropout": _DROPOUT} if self.lora.dropout else {}),
            "objective": describe(self.objective),
            "recipe": asdict(self.recipe),
            "decorrelation": describe(self.decorrelation) if penalised else None,
            "earlier": list(self.earlier) if bound else [],
            **self._beyond_the_value(),
        }

    def _beyond_the_value(self) -> dict[str, Any]:
        """List what a value's own vector does not have: left out where it is not there."""
        more = {
            "preferences": dict(self.preferences),
            "start": self.start,
            "margins": [list(margin) for margin in self.margins],
            "constraint": describe(self.constraint),
            "together": dict(sorted(self.together.items())),
        }
        return {name: setting for name, setting in more.items() if setting}


def _is_one_device(devices: object) -> bool:
    if isinstance(devices, str):
        devices = int(devices) if devices.isdecimal() else devices.strip("[]").split(",")
    if isinstance(devices, Sequence):
        return len(devices) == 1 and str(devices[0]).strip().isdecimal()
    return devices == 1 and not isinstance(devices, bool)


@dataclass(frozen=True)
class ExecutionOptions:
    """How training is carried out; nothing here may change the result beyond rounding.

    A step's pairs are computed `tokens` tokens at a time (auto: `Backbone.token_budget`), and their gradients add up.
    With `checkpoint_activations` a block's activations are computed again in the backward pass instead of kept.
    `checkpoint_every` counts optimizer steps (0 = no checkpoints; where they are slow there is one every 30 s);
    `validation_pairs` are watched at the end (None = all); `snapshot_every` counts batches, as `Recipe.steps` does
    (0 = no snapshots); `devices` names one device, as a count of 1 or a list of one index; `strategy` is Lightning's.
    """

    accelerator: Accelerator = "auto"
    devices: int | Sequence[int | str] | str = 1
    strategy: str = "auto"
    precision: Mixed | Literal["auto"] = "auto"
    tokens: Count | Literal["auto"] = "auto"
    checkpoint_activations: bool = False
    checkpoint_every: CountFrom0 = 50
    validation_pairs: CountFrom0 | None = None
    snapshot_every: CountFrom0 = 0

    def __post_init__(self) -> None:
        """Refuse settings of another type, out of range, or that don't fit each other.

        Raises:
            BadSetting: For the first of them.
        """
        check(self)
        if not _is_one_device(self.devices):
            raise BadSetting(
                "devices",
                f"is {shown(self.devices)}: choose one device, 1 or [0]. Several train one vector under "
                "`torchrun --nproc-per-node 2 -m mva.apps.train ...`, the jobs of a sweep under hydra/launcher=gpus.",
            )
        if "fsdp" in self.strategy or "deepspeed" in self.strategy:
            raise BadSetting(
                "strategy",
                f"is {shown(self.strategy)}, which loses parts of an adapter when it saves its shards: choose auto.",
            )
        if self.strategy not in ("auto", *StrategyRegistry.available_strategies()):
            raise BadSetting(
                "strategy", f"is {shown(self.strategy)}: choose auto, or a name of Lightning's strategies."
            )

    def precision_on(self, backbone: Backbone) -> Mixed:
        """Name Lightning's precision; `auto`: adapters compute in the base's own, with weights in float32."""
        if self.precision != "auto":
            return self.precision
        mixed: dict[torch.dtype, Mixed] = {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}
        return mixed.get(backbone.model.dtype, "32-true")

    def token_budget(self, backbone: Backbone) -> int:
        """Say how many tokens are computed at once."""
        return backbone.token_budget if self.tokens == "auto" else self.tokens

    def check_machine(self) -> None:
        """Check that this machine has the accelerator; it may not be the machine where a sweep is started.

        Raises:
            BadSetting: If it has no such device.
        """
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        there = {"cuda": cuda, "mps": mps, "gpu": cuda or mps}
        if not there.get(self.accelerator, True):
            raise BadSetting(
                "trainer.execution.accelerator", f"is {self.accelerator}, which this machine lacks: choose auto or cpu."
            )
