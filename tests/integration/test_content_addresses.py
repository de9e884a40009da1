"""What lies under a key is a function of the key: whatever was made before, in whatever order, byte for byte.

Float arithmetic knows its batch in the last digits, on some machines and for some sizes. This model knows it everywhere
and in the first digits: what it computes of a row depends on all rows beside it.
"""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.data.tokenization import TokenizedPair, TokenLimits
from mva.data.tokenized import TokenizedValue
from mva.estimators.club import CLUB
from mva.estimators.correlation import Correlation
from mva.models.backbone import load_backbone
from mva.models.lora import LoraSpec
from mva.models.reference import reference_log_probs
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.objectives.decorrelation import Decorrelation
from mva.objectives.dpo import DPO
from mva.rewards.base import RewardContext, silent
from mva.rewards.preference_head import PreferenceHead
from mva.training.fit import VectorFitter
from mva.training.spec import ExecutionOptions, Recipe
from mva.training.task import Task

VALUES = ("kind", "brief")
HEAD = PreferenceHead(
    layers=(0.5,),
    pooling=("mean", "last"),
    inverse_penalties=(0.1, 1.0),
    limits=TokenLimits(99, 99),
    folds=2,
    batch_size=3,
)


@pytest.fixture(scope="module")
def backbone():
    loaded = load_backbone(TinyRandom("llama", hidden_size=32), device="cpu")
    loaded.model.model.layers[0].register_forward_hook(lambda _module, _inputs, states: states + 0.1 * states.mean())
    return loaded


def token_pairs(value, n=7):
    generator = torch.Generator().manual_seed(VALUES.index(value))
    sizes = torch.randint(2, 9, (n, 3), generator=generator).tolist()
    return [
        TokenizedPair(*(tuple(torch.randint(3, 200, (k,), generator=generator).tolist()) for k in row)) for row in sizes
    ]


def text_pairs(value):
    """The values share half of their texts, with the labels turned around."""
    shared = [(f"Question {k}?", "yes " * (k + 1), "no " * (9 - k)) for k in range(4)]
    own = [(f"{value} {k}?", f"{value} " * (k + 2), "so " * k + "what") for k in range(3)]
    pairs = [PreferencePair(user_prompt(p), *(texts if value == "kind" else texts[::-1])) for p, *texts in shared]
    return tuple(pairs + [PreferencePair(user_prompt(p), chosen, rejected) for p, chosen, rejected in own])


def fitter(backbone, store, decorrelation):
    return VectorFitter(
        backbone,
        {value: TokenizedValue(token_pairs(value), token_pairs(value)[:2]) for value in VALUES},
        lora=LoraSpec(rank=2, dropout=0.1),
        objective=DPO(),
        decorrelation=decorrelation,
        recipe=Recipe(steps=4, batch_size=2, learning_rate=1e-2),
        execution=ExecutionOptions(accelerator="cpu", checkpoint_every=2, snapshot_every=2),
        store=store,
        seed=0,
        log=lambda _metrics, _step: None,
        bar=silent,
    )


class Makers:
    """Make entries of one kind into `store`, with everything that lives as long as a process does."""

    def __init__(self, backbone, store):
        self.backbone = backbone
        self.store = store
        self.head = replace(HEAD)  # remembers features
        self.fit = fitter(backbone, store, Decorrelation(Correlation(), strength=1.0))
        self.fit_learned = fitter(backbone, store, Decorrelation(CLUB(), strength=0.01))

    def reference(self, value):
        reference_log_probs(self.backbone, token_pairs(value, 9), self.store, tokens=30)

    def vectors(self, value):
        self.fit(Task(value))

    def penalised(self, value):
        (other,) = (name for name in VALUES if name != value)
        for fit in (self.fit, self.fit_learned):
            fit(Task(value, earlier=(fit(Task(other)),)))

    def joint(self, value):
        self.fit.together(sorted(VALUES, key=value.__eq__))

    def rewards(self, value):
        data = ValueData(value, train=text_pairs(value), validation=(), test=())
        self.head.build(RewardContext(value, self.backbone, data, self.store, SimpleNamespace(values=()), {}))


KINDS = ("reference", "vectors", "penalised", "joint", "rewards")


def contents(store):
    """The bytes of every file of every entry."""
    kinds = ("reference", "vectors", "snapshots", "rewards", "parts")
    files = itertools.chain.from_iterable(store.root.glob(f"{kind}/*/**/*") for kind in kinds)
    return {path.relative_to(store.root).as_posix(): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_alone_after_others_and_in_another_order_the_bytes_are_the_same(backbone, tmp_path, kind):
    everything = [(name, value) for name in KINDS for value in VALUES]
    orders = {
        "the second alone": [(kind, VALUES[1])],
        "the first alone": [(kind, VALUES[0])],
        "one after the other": [(kind, VALUES[0]), (kind, VALUES[1])],
        "the other way": [(kind, VALUES[1]), (kind, VALUES[0])],
        "after all others": [pair for pair in everything if pair[0] != kind] + [(kind, value) for value in VALUES],
    }
    seen = {}
    for name, order in orders.items():
        store = Store(tmp_path / name)
        makers = Makers(backbone, store)
        for maker, value in order:
            getattr(makers, maker)(value)
        seen[name] = contents(store)
    alone = seen["the first alone"] | seen["the second alone"]
    assert alone
    for name, files in seen.items():
        assert {path: files[path] for path in alone.keys() & files.keys()} == {
            path: alone[path] for path in alone.keys() & files.keys()
        }, name
        assert len(files) >= len(alone) or "alone" in name
