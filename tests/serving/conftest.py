"""A speaker of tiny models, and a server that a test can talk to."""

import threading

import pytest
import uvicorn

from mva.evaluation.generation import GenerationSpec
from mva.extrapolation.space import CoefficientSpace
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.serving.connections import settings
from mva.serving.speaker import Speaker

VALUES = ("helpful", "harmless")


@pytest.fixture(scope="session")
def make_speaker(vectors_of):
    def make(architecture="llama", **spec):
        backbone = load_backbone(TinyRandom(architecture, hidden_size=32), dtype="float64", device="cpu")
        space = CoefficientSpace(VALUES, minimum=0.0, maximum={"helpful": 1.5, "harmless": 1.0})
        return Speaker(backbone, vectors_of(backbone), space, GenerationSpec(**{"max_new_tokens": 8, **spec}))

    return make


@pytest.fixture(scope="package")
def speaker(make_speaker):
    return make_speaker(max_prompt_tokens=64)


@pytest.fixture
def serve():
    """Serve an app on a free port until the test's end; gives its port."""
    started = []

    def start(app):
        server = uvicorn.Server(settings(app, port=0))
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
