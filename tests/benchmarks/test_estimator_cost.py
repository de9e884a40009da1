"""What a penalty costs: its share of a training step on SmolLM2's shapes, and one evaluation at 7B shapes."""

import subprocess
import sys
import time

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from mva.data.packing import pack
from mva.data.template import Template
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
from mva.models.attention import take_packed_rows
from mva.models.backbone import Backbone
from mva.models.log_probs import Capabilities, sequence_log_probs
from mva.models.lora import LoraSpec, attach, detach, live_factors
from mva.models.sources.tiny_random import byte_tokenizer
from mva.models.value_vector import LowRank
from mva.objectives.decorrelation import Decorrelation

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CLOSED = [HSIC(), NormalizedHSIC(), DistanceCorrelation(), Correlation(), CrossCorrelation(), Orthogonal()]
CLOSED += [SubspaceOverlap()]
LEARNED = [CLUB(), CLUB(sampled=True), MINE(), InfoNCE()]


@pytest.fixture(scope="module")
def model():
    tokenizer = byte_tokenizer()
    shapes = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}
    config = LlamaConfig(**shapes, intermediate_size=1536, vocab_size=49152, tie_word_embeddings=True)
    causal_lm = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    take_packed_rows(causal_lm)
    able = Capabilities(packed=True, split_head=True)
    backbone = Backbone(causal_lm, tokenizer, Template(tokenizer), "shapes", "shapes", able)
    adapted = attach(backbone, LoraSpec(rank=16), name="harmless", seed=0)
    yield adapted
    detach(adapted)


def best(function, repeats):
    """The fastest of several runs: what the work itself takes, not what else the machine did."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


@pytest.fixture(scope="module")
def step_seconds(model):
    generator = torch.Generator().manual_seed(0)
    pairs = [
        TokenizedPair(*(tuple(torch.randint(49152, (size,), generator=generator).tolist()) for size in (128, 64, 64)))
        for _ in range(4)
    ]
    batch = pack(pairs)

    def step():
        chosen, rejected = sequence_log_probs(model, batch, split_head=True)
        torch.nn.functional.softplus(rejected - chosen).mean().backward()

    return best(step, 3)


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


@pytest.mark.parametrize("estimator", [*CLOSED, *LEARNED], ids=repr)
def test_a_penalty_is_a_small_share_of_a_training_step(estimator, model, step_seconds, benchmark):
    current = live_factors(model, "harmless")
    for update in current.values():
        torch.nn.init.normal_(update.b, std=0.01)
    earlier = [random_like(current, 1)]
    learned = isinstance(estimator, LearnedEstimator)
    critic = estimator.critic(0) if learned else estimator
    decorrelation = Decorrelation(critic)
    frozen = decorrelation.freeze(current, earlier)
    optimizer = adam(critic, 1e-3) if learned else None

    def penalise():
        if learned:
            batches = [(x.detach(), y) for x, y in paired(decorrelation.view, current, frozen)]
            fit(critic, optimizer, batches, steps=estimator.budget.steps)
        decorrelation.against(frozen, current)[0].backward()

    benchmark.pedantic(penalise, rounds=7, warmup_rounds=1)
    share = benchmark.stats.stats.min / step_seconds
    benchmark.extra_info["share_of_a_step"] = share
    print(f"\n{share:.1%} of a step of {step_seconds:.2f} s")
    assert share < (0.35 if learned else 0.08)


SEVEN_BILLION = """
import time, torch
from pathlib import Path
from mva.estimators.{module} import {name}
from mva.models.value_vector import LowRank
from mva.objectives.decorrelation import Decorrelation

torch.set_num_threads(2)
def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
def vector(grad):
    return {{f"m{{i}}": LowRank(torch.randn(64, 4096).div_(64).requires_grad_(grad), torch.randn(4096, 64).mul_(.01).requires_grad_(grad), 2.0) for i in range(128)}}
penalty = Decorrelation({name}())
earlier, current = vector(False), vector(True)
before = kilobytes("VmRSS")
frozen = penalty.freeze(current, [earlier])
del earlier
seconds = []
for _ in range(3):
    start = time.perf_counter()
    penalty.against(frozen, current)[0].backward()
    seconds.append(time.perf_counter() - start)
    for update in current.values():
        update.a.grad = update.b.grad = None
after = kilobytes("VmHWM")
print(min(seconds), (after - before) / 2**20, after / 2**20)
"""


@pytest.mark.parametrize("estimator", CLOSED, ids=lambda e: type(e).__name__)
def test_one_evaluation_at_7b_shapes_is_quick_and_lean(estimator):
    code = SEVEN_BILLION.format(module=type(estimator).__module__.rpartition(".")[2], name=type(estimator).__name__)
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, added, whole = map(float, printed.split())
    print(f"\n{seconds:.2f} s, {added:.2f} GiB for the penalty, {whole:.2f} GiB in all")
    assert seconds < 2
    assert added < 2
