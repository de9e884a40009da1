"""What is stored stays found: addresses as they were recorded, whatever file a class is moved to.

The digests are those of 26 November 2026. One that changes means that users train, fit and generate again what they
have: a new setting is declared with `added(default)`, a moved class keeps its declared kind.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.apps.targets import with_kinds
from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.data.tokenization import TokenizedPair
from mva.engines.sampling import NOISE
from mva.estimators.activations import Activations
from mva.estimators.samples import FactorRows, Update, UpdateRows
from mva.evaluation.evaluator import Evaluator
from mva.extrapolation.candidate import Candidate
from mva.fingerprint import describe, fingerprint, kind
from mva.models.reference import reference_log_probs
from mva.models.store import key_of
from mva.objectives.modpo import MODPO
from mva.rewards.base import RewardContext
from mva.training.spec import VectorSpec

BACKBONE = SimpleNamespace(
    fingerprint="base",
    capabilities=SimpleNamespace(packed=True),
    template=SimpleNamespace(key="template", tokenizer=SimpleNamespace(chat_template=None)),
)
PROMPTS = [user_prompt("Who?"), user_prompt("Why?")]
PAIRS = tuple(PreferencePair(prompt, "yes", "no") for prompt in PROMPTS)

VECTORS = {
    "objective=cdpo": "279530f109266c9e879035451e986d35e30b7c9a",
    "objective=dpo": "a259dc81c30e773d784e3644986b73e4b91d0c56",
    "objective=ipo": "88e53f73ddfa7e8865b89619187e76126c4d6e08",
    "objective=kto_pair": "238b10dd6cb96c8f9ccf796f6e19afc42041a2be",
    "objective=orpo": "5c90d105c10bce351c79875a54c0aaa0b0da2e7b",
    "objective=robust_dpo": "044579a1097562f775f0a767409ccf5c611a02a3",
    "objective=simpo": "1dafa8488f0a4d0df0e4505e32c0febadcb3e6c0",
    "estimator=club": "35a3f1848bb585412d2ab01235734884d54a9c2a",
    "estimator=correlation": "e4b0430458251300fe46378e812e6c4c21c323ed",
    "estimator=cross_correlation": "08dd834f01021cefd9475d2322d3ca61929c1181",
    "estimator=distance_correlation": "c69164c81195de4b0480176469e029590e50203c",
    "estimator=hsic": "a259dc81c30e773d784e3644986b73e4b91d0c56",
    "estimator=info_nce": "3c55bb96824155ca7f2e3d38ee902f39bddeca43",
    "estimator=mine": "5136026c865138deeac49f9961fa4f0f961e33cc",
    "estimator=none": "e749e0ddaba7a915bb06ef495d4cbca693daf80e",
    "estimator=normalized_hsic": "2eef2f69a81024e07d0fb301757ebc3365181e2b",
    "estimator=orthogonal": "50a8a0cf68aa0e70f8cd45962aaa22ef2fe81d1e",
    "estimator=subspace_overlap": "54a49fc6203f53cb34569c6928a4a0a24a7b0a39",
}
VIEWS = {
    FactorRows("A"): "e302d46c326e7ee7ef25b84b5b455297728e696e719ab8f0b744b01a3fbba395",
    FactorRows("B"): "26b23706d058a072f3190697c4b347eee79aefe581c648141f98f2addddeea50",
    Update(): "6d0544b1414e8a7a11736ed2797ab4be656d58f2739a5fe0758188b24fa6a08b",
    UpdateRows(): "bfa9a3a656dedbe5dd25db5ed615feb5296be28326057fd94c71389f544e6791",
    Activations(): "e3f7970324bfb1299b3f74bdf4cf36a2769d01fe969ec0340fd9f401d9d30775",
}
REWARDS = {
    "implicit": "38bf7fed11d8c0713d79f3fd9a1515afa6ada555",
    "length": "length(sign=1)",
    "sentiment": "sentiment(vader compound)",
}


class Asked(Exception):
    """The address that was asked for."""


class AskedStore:
    """A store that answers every question with the address that it was asked for."""

    root = Path("store")

    def making(self, _kind, key, *, what):
        raise Asked(key)


def experiment(*overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return assemble.experiment(compose("config", overrides=list(overrides)))


def vector_key(run, **changes):
    """The address of a vector that was trained after another one."""
    settings = {
        "value": "helpful",
        "base": "base",
        "data": "data",
        "seed": run.seed,
        "lora": run.adapter,
        "objective": run.objective,
        "decorrelation": run.decorrelation,
        "recipe": run.recipe,
        "earlier": ("earlier",),
    }
    return key_of(VectorSpec(**{**settings, **changes}).describe())


def reward(name):
    data = ValueData("helpful", train=PAIRS, validation=(), test=())
    policy = SimpleNamespace(values=("helpful",), noise=NOISE)
    context = RewardContext("helpful", BACKBONE, data, AskedStore(), policy, {"helpful": "vector"})
    return experiment(f"reward={name}").rewards["helpful"].build(context)


@pytest.mark.parametrize("option", VECTORS)
def test_vectors_are_where_they_were(option):
    assert vector_key(experiment(option)) == VECTORS[option]


def test_vectors_of_other_plans_are_where_they_were():
    run = experiment("plan=orthogonal_complement")
    both = {"helpful": 0.5, "harmless": 0.5}
    margins = {"objective": MODPO(run.objective, 0.5), "margins": (("other", 0.5),), "preferences": both}
    assert vector_key(run, earlier=()) == "f7bb5d40346888ed5ba5ebde1564430317306f61"
    assert vector_key(run, **margins) == "2c5167d291d5f7ff8381198a93196f426019f33a"
    assert vector_key(run, start="start", together={"harmless": "data"}) == "3081367260378cc656928495ed409b2194ef12c9"
    assert vector_key(run, constraint=run.plan.constraint) == "3918e160e7710579515888c82689a37fff2ba7e4"


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_views_are_described_as_they_were(view):
    assert fingerprint(describe(view)) == VIEWS[view]


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_have_their_keys(name):
    assert reward(name).key == REWARDS[name]


def test_reward_heads_are_where_they_were():
    with pytest.raises(Asked, match=r"^47c30c54db647b476ff2dca6d018f06bf1599ea5$"):
        reward("preference_head")


def test_reference_log_probs_are_where_they_were():
    with pytest.raises(Asked, match=r"^afae46527c4c3263c44e0d8574f7ecf0f36130b3$"):
        reference_log_probs(BACKBONE, [TokenizedPair((1, 2), (3,), (4, 5))], AskedStore())


# Sampled responses of before 2026-11-26 had other noise: their lines stay in the ledger, under another key.
@pytest.mark.parametrize(
    ("temperature", "key"),
    [(0.0, "1acec6b876d01eb6d206becb491f442938055810"), (0.7, "67ac2f6a9cb382d470a63178cf691017b2e167ed")],
)
def test_evaluations_have_their_keys(temperature, key):
    evaluator = Evaluator(
        SimpleNamespace(values=("helpful",), noise=NOISE),
        BACKBONE,
        {"helpful": SimpleNamespace(key="reward")},
        prompts=PROMPTS,
        split="validation",
        generation=replace(experiment().evaluation.generation, temperature=temperature),
        ledger=None,
        vector_keys={"helpful": "key"},
    )
    assert evaluator.key == key


def test_candidates_have_their_ids():
    assert Candidate({"helpful": 0.5, "harmless": 1.0}).id == "2cd3fd72812d"


@kind("mva.objectives.dpo.DPO")
@dataclass(frozen=True)
class Moved:
    """The default objective in another file, under another name."""

    beta: float = 0.1
    label_smoothing: float = 0.0


def test_a_class_that_moved_keeps_its_vectors():
    run = experiment()
    assert vector_key(run, objective=Moved(beta=run.objective.beta)) == VECTORS["objective=dpo"]


def test_a_class_that_moved_leaves_a_run_folder_the_same_run(monkeypatch):
    monkeypatch.setattr("mva.objectives.ipo.Moved", Moved, raising=False)
    before = {"objective": {"_target_": "mva.objectives.dpo.DPO", "beta": 0.1}, "seed": 0}
    after = {"objective": {"_target_": "mva.objectives.ipo.Moved", "beta": 0.1}, "seed": 0}
    other = {"objective": {"_target_": "mva.objectives.ipo.IPO", "beta": 0.1}, "seed": 0}
    assert with_kinds(after) == with_kinds(before) == before
    assert with_kinds(other) != before
    gone = {"_target_": "mva.objectives.of_another_version.Loss", "parts": [{"_target_": "torch.load"}]}
    assert with_kinds(gone) == gone


def test_a_class_that_is_made_from_another_has_vectors_of_its_own():
    @dataclass(frozen=True)
    class Variant(Moved):
        pass

    assert describe(Variant())["class"] == f"{__name__}.{Variant.__qualname__}"


def test_a_class_of_mva_must_declare_its_kind():
    @dataclass(frozen=True)
    class Forgotten:
        pass

    Forgotten.__module__ = "mva.objectives.forgotten"
    with pytest.raises(TypeError, match=r"^mva\.objectives\.forgotten\..*Forgotten has no kind"):
        describe(Forgotten())
