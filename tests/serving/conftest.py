"""A speaker of tiny models, and a server that a test can talk to."""

import threading

import pytest
import torch
import uvicorn
from transformers.pytorch_utils import Conv1D

from mva.evaluation.generation import GenerationSpec
from mva.extrapolation.space import CoefficientSpace
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector
from mva.serving.speaker import Speaker

VALUES = ("helpful", "harmless")


def random_vectors(backbone):
    """One vector a value over every projection of the layers; large enough to change what is said."""
    vectors = []
    for seed, value in enumerate(VALUES):
        generator = torch.Generator().manual_seed(seed)
        factors = {}
        for name, module in backbone.model.named_modules():
            if isinstance(module, torch.nn.Linear | Conv1D) and "head" not in name and "embed" not in name:
                d_in, d_out = module.weight.shape[:: 1 if isinstance(module, Conv1D) else -1]
                a = torch.randn(2, d_in, generator=generator, dtype=torch.float64)
                factors[name] = LowRank(a, torch.randn(d_out, 2, generator=generator, dtype=torch.float64), 0.3)
        vectors.append(ValueVector(value, factors, backbone.fingerprint))
    return vectors


def tiny_speaker(architecture="llama", **spec):
    backbone = load_backbone(TinyRandom(architecture, hidden_size=32), dtype="float64", device="cpu")
    space = CoefficientSpace(VALUES, minimum=0.0, maximum={"helpful": 1.5, "harmless": 1.0})
    return Speaker(backbone, random_vectors(backbone), space, GenerationSpec(**{"max_new_tokens": 8, **spec}))


@pytest.fixture(scope="session")
def make_speaker():
    return tiny_speaker


@pytest.fixture(scope="session")
def vectors_of():
    return random_vectors


@pytest.fixture(scope="package")
def speaker():
    return tiny_speaker(max_prompt_tokens=64)


@pytest.fixture
def serve():
    """Serve an app on a free port until the test's end; gives its port."""
    started = []

    def start(app):
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        started.append((server, thread))
        while not server.started:
            assert thread.is_alive(), "the server did not start"
        return server.servers[0].sockets[0].getsockname()[1]

    yield start
    for server, thread in started:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the server did not stop"
