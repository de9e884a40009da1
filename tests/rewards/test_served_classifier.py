"""A classifier behind vLLM's pooling API, whose part is played by a server in this process that loads the real model."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from mva.data.preference import user_prompt
from mva.models.sources.tiny_random import byte_tokenizer
from mva.rewards.sequence_classifier import SequenceClassifier
from mva.rewards.served_classifier import RewardServerTrouble

PROMPTS = [user_prompt(text) for text in ("hello", "why", "how are you", "hello")]
RESPONSES = ["yes", "because it is", "fine", "no no no no no no no"]
TEMPLATE = "Human: {prompt} Assistant: {response}"
CONTEXT = SimpleNamespace(backbone=SimpleNamespace(device=torch.device("cpu")))
SIZES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_labels": 2}


def bert():
    tokenizer = byte_tokenizer()
    return BertForSequenceClassification(BertConfig(**SIZES, vocab_size=len(tokenizer))), tokenizer


def llama():
    tokenizer = byte_tokenizer()
    return LlamaForSequenceClassification(LlamaConfig(**SIZES, vocab_size=len(tokenizer))), tokenizer


@contextmanager
def serving(answer):
    """Answer requests by `answer(path, body) -> (status, record)`; yields the address and the requests."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self, body):
            asked.append((self.path, body))
            status, record = answer(self.path, body)
            content = record if isinstance(record, bytes) else json.dumps(record).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            self._reply(None)

        def do_POST(self):
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


MODELS = {"data": [{"id": "reward", "root": "org/reward", "max_model_len": 64}]}


def with_model(model):
    """What vLLM answers: raw logits of token ids, in any order."""

    def answer(path, body):
        if path == "/v1/models":
            return 200, MODELS
        assert body["use_activation"] is False
        assert body["model"] == "reward"
        with torch.no_grad():
            rows = [model(torch.tensor([ids])).logits[0].tolist() for ids in body["input"]]
        return 200, {"data": [{"index": k, "probs": row} for k, row in reversed(list(enumerate(rows)))]}

    return answer


@pytest.mark.parametrize("make", [bert, llama], ids=["bert", "llama"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_served_model_scores_as_a_loaded_one(make, sign, tmp_path):
    model, tokenizer = make()
    model.eval().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = SequenceClassifier(str(tmp_path), TEMPLATE, label=1, sign=sign).build(CONTEXT)
    with serving(with_model(model)) as (address, asked):
        spec = SequenceClassifier(str(tmp_path), TEMPLATE, label=1, sign=sign, batch_size=3, server=address)
        spec.check_server()
        served = spec.build(CONTEXT)
        scores = served.score(PROMPTS, RESPONSES)
    torch.testing.assert_close(scores, loaded.score(PROMPTS, RESPONSES), atol=1e-6, rtol=0)
    assert sorted(len(body["input"]) for path, body in asked if path == "/classify") == [1, 3]


def test_the_key_is_that_of_what_is_served_wherever_the_server_is(tmp_path):
    model, tokenizer = bert()
    tokenizer.save_pretrained(tmp_path)

    def key(answer, **changes):
        with serving(answer) as (address, _):
            return SequenceClassifier(str(tmp_path), TEMPLATE, 1, 1, server=address, **changes).build(CONTEXT).key

    other = {"data": [{"id": "reward", "root": "org/other"}]}
    keys = [
        key(with_model(model)),
        key(with_model(model), batch_size=2),
        key(with_model(model), max_tokens=9),
        key(lambda *_: (200, other)),
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


BROKEN = {
    "no JSON": (200, b"<html>", "does not answer as vLLM's pooling API does"),
    "a row too few": (200, {"data": [{"index": 0, "probs": [1.0, 2.0]}]}, "answered 1 of 4 texts"),
    "not finite": (200, b'{"data": [{"index": 0, "probs": [NaN]}]}', "does not answer as vLLM's pooling API does"),
    "a label too few": (
        200,
        {"data": [{"index": k, "probs": [1.0]} for k in range(4)]},
        r"has 1 labels: reward\.label",
    ),
    "no such path": (404, {"detail": "Not Found"}, "status 404.*pooling runner"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_answer_is_said_in_a_sentence(name, tmp_path):
    status, record, words = BROKEN[name]
    bert()[1].save_pretrained(tmp_path)
    with serving(lambda path, _body: (200, MODELS) if path == "/v1/models" else (status, record)) as (address, _):
        reward = SequenceClassifier(str(tmp_path), TEMPLATE, label=1, sign=1, server=address).build(CONTEXT)
        with pytest.raises(RewardServerTrouble, match=words):
            reward.score(PROMPTS, RESPONSES)


def test_a_busy_server_is_asked_again(tmp_path):
    model, tokenizer = bert()
    tokenizer.save_pretrained(tmp_path)
    busy = iter([True, False])
    real = with_model(model.eval())

    def answer(path, body):
        return (503, {}) if path == "/classify" and next(busy) else real(path, body)

    with serving(answer) as (address, asked):
        spec = SequenceClassifier(str(tmp_path), TEMPLATE, label=1, sign=1, server=address)
        assert len(spec.build(CONTEXT).score(PROMPTS, RESPONSES)) == 4
    assert [path for path, _ in asked].count("/classify") == 2


def test_a_server_that_is_not_there_is_said_before_anything_is_trained(tmp_path):
    with serving(lambda *_: (200, MODELS)) as (address, _):
        pass
    with pytest.raises(RewardServerTrouble, match=r"127\.0\.0\.1.*does not answer.*mend reward\.server"):
        SequenceClassifier(str(tmp_path), TEMPLATE, label=0, sign=1, server=address).check_server()


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host", "http://", "http://user:word@host"])
def test_what_is_no_address_is_refused(address, tmp_path):
    with pytest.raises(ValueError, match=r"server is .*write an address"):
        SequenceClassifier(str(tmp_path), TEMPLATE, label=0, sign=1, server=address)
