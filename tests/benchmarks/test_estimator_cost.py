"""What a penalty costs: its share of a training step on SmolLM2's shapes, and of one at 7B shapes."""

import json

import pytest
import torch
from measuring import RANK, backbone_of, medians, product, spent, step, with_adapter
from scaling import SEVEN_BILLION, Tokens
from transformers import LlamaConfig

from mva.data.tokenization import TokenizedPair
from mva.estimators.base import LearnedEstimator
from mva.estimators.club import CLUB
from mva.estimators.correlation import Correlation
from mva.estimators.cross_correlation import CrossCorrelation
from mva.estimators.distance_correlation import DistanceCorrelation
from mva.estimators.hsic import HSIC
from mva.estimators.info_nce import InfoNCE
from mva.estimators.learned import adam, fit
from mva.estimators.mine import MINE
from mva.estimators.normalized_hsic import NormalizedHSIC
from mva.estimators.orthogonal import Orthogonal
from mva.estimators.samples import paired
from mva.estimators.subspace_overlap import SubspaceOverlap
from mva.models.lora import detach, live_factors
from mva.models.value_vector import LowRank
from mva.objectives.decorrelation import Decorrelation

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CLOSED = [HSIC(), NormalizedHSIC(), DistanceCorrelation(), Correlation(), CrossCorrelation(), Orthogonal()]
CLOSED += [SubspaceOverlap()]
LEARNED = [CLUB(), CLUB(sampled=True), MINE(), InfoNCE()]
SMOLLM2 = LlamaConfig(
    hidden_size=576,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    intermediate_size=1536,
    vocab_size=49152,
    tie_word_embeddings=True,
)
N_EARLIER = (1, 2, 4)


@pytest.fixture(scope="module")
def backbone():
    return backbone_of(SMOLLM2)


@pytest.fixture(scope="module")
def model(backbone):
    adapted = with_adapter(backbone)
    for update in live_factors(adapted, "default").values():
        torch.nn.init.normal_(update.b, std=0.01)
    yield adapted
    detach(adapted)


@pytest.fixture(scope="module")
def step_seconds(backbone, model):
    """CPU seconds of a step of 4 pairs and 1,024 tokens."""
    tokens = tuple(range(1000, 1128))
    pairs = [TokenizedPair(tokens, tokens[:64], tokens[:64])] * 4
    return medians(3, step=lambda _turn: step(backbone, model, pairs))["step"]


def random_like(factors, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: LowRank(
            torch.randn(u.a.shape, generator=generator) / u.a.shape[1] ** 0.5,
            0.01 * torch.randn(u.b.shape, generator=generator),
            u.scaling,
        )
        for name, u in factors.items()
    }


def penalty_of(estimator, current, n_earlier):
    """What training does for the penalty at every step."""
    learned = isinstance(estimator, LearnedEstimator)
    critic = estimator.critic(0) if learned else estimator
    decorrelation = Decorrelation(critic)
    frozen = decorrelation.freeze(current, [random_like(current, seed) for seed in range(n_earlier)])
    optimizer = adam(critic, 1e-3) if learned else None

    def penalise(_turn):
        if learned:
            batches = [(x.detach(), y) for x, y in paired(decorrelation.view, current, frozen)]
            fit(critic, optimizer, batches, steps=estimator.budget.steps)
            with torch.no_grad():
                [critic(x, y) for x, y in batches]
        decorrelation.against(frozen, current)[0].backward()

    return penalise


@pytest.mark.parametrize(("key", "estimators"), [("penalty", CLOSED), ("learned_penalty", LEARNED)])
def test_a_penalty_is_a_small_share_of_a_training_step(key, estimators, model, step_seconds, record):
    current = live_factors(model, "default")
    shares = {
        (type(estimator).__name__, n): medians(3, penalise=penalty_of(estimator, current, n))["penalise"] / step_seconds
        for estimator in estimators
        for n in N_EARLIER
    }
    (name, _), worst = max(shares.items(), key=lambda item: item[1])
    of_all = [f"{n} earlier {max(share for (_, m), share in shares.items() if m == n):.1%}" for n in N_EARLIER]
    details = f"SmolLM2's shapes, r {RANK}, 1,024 tokens; the worst of {len(estimators)}: {name}; {', '.join(of_all)}"
    record(key, worst, details)
    assert worst < 0.35


PENALTY_7B = """
import json, sys, time, torch
from importlib import import_module
from pathlib import Path
from mva.models.value_vector import LowRank
from mva.objectives.decorrelation import Decorrelation

torch.set_num_threads(1)
def kilobytes(name):
    return int(dict(line.split(":", 1) for line in open("/proc/self/status"))[name].split()[0])
def vector(grad):
    return {f"m{i}": LowRank(torch.randn(64, 4096).div_(64).requires_grad_(grad), torch.randn(4096, 64).mul_(.01).requires_grad_(grad), 2.0) for i in range(128)}
module, name = json.loads(sys.argv[1])
penalty = Decorrelation(getattr(import_module(module), name)())
earlier, current = vector(False), vector(True)
before = kilobytes("VmRSS")
frozen = penalty.freeze(current, [earlier])
del earlier
seconds = []
for _ in range(3):
    start = time.process_time()
    penalty.against(frozen, current)[0].backward()
    seconds.append(time.process_time() - start)
    for update in current.values():
        update.a.grad = update.b.grad = None
print("measured:", sorted(seconds)[1], (kilobytes("VmHWM") - before) / 2**20)
"""


def test_a_penalty_at_7b_shapes_is_a_small_share_of_a_step_and_lean(tmp_path, record):
    tokens = Tokens.alike(4, 256, 128)
    multiply, operations = product(512, 4096, 4096, torch.float32, repeats=2)
    step_seconds = SEVEN_BILLION.training_flops(tokens) * medians(3, product=multiply)["product"] / operations
    shares, gigabytes = {}, {}
    for estimator in CLOSED:
        kind = type(estimator)
        done = spent(PENALTY_7B, json.dumps([kind.__module__, kind.__name__]), folder=tmp_path)
        taken, gigabytes[kind.__name__] = map(float, done.printed.split("measured:")[1].split()[:2])
        shares[kind.__name__] = taken / step_seconds
    worst = max(shares, key=shares.get)
    details = f"the worst of {len(CLOSED)}: {worst}; {max(gigabytes.values()):.1f} GiB at most; the step by its formula"
    record("penalty_7b", shares[worst], details)
    assert shares[worst] < 0.1
    assert max(gigabytes.values()) < 2
