"""A server on this machine that speaks as much of vLLM's HTTP as the engine needs, and misbehaves as it is told.

As a script it takes the words of vLLM's own command, needs nothing but the standard library and answers by hashes. In a
test's own process it may be given a real model to answer with (`ModelMind`).
"""

import hashlib
import itertools
import json
import math
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENORMOUS = 1e30  # in an adapter's factors: nothing finite comes of it


class HashMind:
    """Tokens that are a function of the prompt, the seed, and the adapter's bytes."""

    def load(self, folder):
        content = (Path(folder) / "adapter_model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        enormous = any(abs(number) > ENORMOUS for (number,) in struct.iter_unpack("<f", content[8 + length :]))
        return "enormous" if enormous else hashlib.sha256(content).hexdigest()

    def generate(self, adapter, body):
        words = json.dumps([body["prompt"], body.get("seed"), adapter]).encode()
        ids = list(hashlib.sha256(words).digest())[: body["max_tokens"]]
        return ids, [math.nan if adapter == "enormous" else -1.0] * len(ids)

    def next_log_probs(self, adapter, prompt):
        return dict.fromkeys(range(20), -3.0)


class ModelMind:
    """What a model says with an adapter merged in."""

    def __init__(self, backbone):
        self.backbone = backbone

    def load(self, folder):
        from mva.models.adapter_files import load_adapter

        return load_adapter(Path(folder))

    def _logits(self, adapter, ids):
        import torch

        from mva.models.merge import merged

        if adapter is None:
            return self.backbone.model(torch.tensor([ids])).logits[0]
        with merged(self.backbone, adapter) as model:
            return model(torch.tensor([ids])).logits[0]

    def generate(self, adapter, body):
        import torch

        ids, log_probs, n_prompt = list(body["prompt"]), [], len(body["prompt"])
        generator = torch.Generator().manual_seed(body.get("seed", 0) % 2**63)
        while len(ids) < n_prompt + body["max_tokens"]:
            with torch.no_grad():
                row = self._logits(adapter, ids)[-1].log_softmax(-1)
            if body["temperature"] and torch.isfinite(row).all():
                probabilities = (row / body["temperature"]).softmax(-1)
                ids.append(int(torch.multinomial(probabilities, 1, generator=generator)))
            else:
                ids.append(int(row.nan_to_num().argmax()))
            log_probs.append(float(row[ids[-1]]))
            if ids[-1] in body["stop_token_ids"]:
                break
        return ids[n_prompt:], log_probs

    def next_log_probs(self, adapter, prompt):
        import torch

        with torch.no_grad():
            row = self._logits(adapter, list(prompt))[-1].log_softmax(-1)
        return {int(token): float(row[token]) for token in row.topk(20).indices}


class FakeVllm:
    """The server. `script` holds what befalls the next completions: a status, "rubbish", "half" or "hang"."""

    def __init__(self, mind=None, *, port=0, max_loras=4, max_rank=512):
        self.mind, self.max_loras, self.max_rank = mind or HashMind(), max_loras, max_rank
        self.version, self.takes_adapters, self.ignores_adapters, self.seconds = "0.32.0", True, False, 0.0
        self.pollutable, self.polluted = False, False  # by a candidate that is not finite, until it is started again
        self.script, self.adapters, self.log, self.most_loaded, self.most_at_once = [], {}, [], 0, 0
        self.released = threading.Event()
        self._at_once, self._lock, self._thinking = 0, threading.Lock(), threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def get(self, path):
        if path == "/health":
            return 200, b""
        if path == "/version":
            return 200, {"version": self.version}
        names = [{"id": "base", "parent": None}, *({"id": name, "parent": "base"} for name in self.adapters)]
        return 200, {"object": "list", "data": names}

    def post(self, path, body):
        with self._lock:
            self.log.append((path, body))
        if path == "/v1/completions":
            return self._complete(body)
        if not self.takes_adapters:
            return 404, {"detail": "Not Found"}
        if "lora_name" not in body:
            return 400, {"error": {"message": "2 validation errors", "code": 400}}
        if path == "/v1/unload_lora_adapter":
            known = self.adapters.pop(body["lora_name"], None)
            return (200, b"done") if known else (404, {"error": {"message": "no such adapter", "code": 404}})
        return self._load(body)

    def _load(self, body):
        rank = json.loads((Path(body["lora_path"]) / "adapter_config.json").read_text())["r"]
        if rank > self.max_rank:
            reason = f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}."
            return 500, {"error": {"message": reason, "code": 500}}
        adapter = self.mind.load(body["lora_path"])
        with self._lock:
            self.adapters[body["lora_name"]] = adapter
            self.most_loaded = max(self.most_loaded, len(self.adapters))
        return 200, b"Success"

    def _complete(self, body):
        with self._lock:
            step = self.script.pop(0) if self.script else None
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.seconds)
            return self._stumble(step) if step else self._answer(body)
        finally:
            with self._lock:
                self._at_once -= 1

    def _stumble(self, step):
        if step == "hang":
            self.released.wait(20)
        if isinstance(step, int):
            return step, {"error": {"message": "EngineCore encountered an issue.", "code": step}}
        return 200, {"rubbish": {"no": "completion"}, "half": "half"}.get(step, b"not json")

    def _answer(self, body):
        if body["model"] != "base" and body["model"] not in self.adapters:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}
        adapter = None if self.ignores_adapters else self.adapters.get(body["model"])
        with self._thinking:
            if self.polluted and body["logprobs"] is not None:
                return 400, {"error": {"message": "Out of range float values are not JSON compliant: nan"}}
            if body["logprobs"]:
                listed = self.mind.next_log_probs(adapter, body["prompt"])
                likeliest = {f"token_id:{token}": log_prob for token, log_prob in listed.items()}
                choice = {"token_ids": [0], "logprobs": {"token_logprobs": [-1.0], "top_logprobs": [likeliest]}}
            else:
                ids, log_probs = self.mind.generate(adapter, body)
                self.polluted |= self.pollutable and not all(map(math.isfinite, log_probs))
                finite = [number if math.isfinite(number) else None for number in log_probs]
                choice = {"token_ids": ids, "logprobs": {"token_logprobs": finite}}
        return 200, {"choices": [choice]}


def _handler(fake):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._reply(*fake.get(self.path))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._reply(*fake.post(self.path, body))

        def _reply(self, status, body):
            half = body == "half"
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.close_connection = True
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) + 100 * half))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                pass

        def log_message(self, *_):
            pass

    return Handler


if __name__ == "__main__":
    words = sys.argv[1:]
    settings = dict(itertools.pairwise(words))
    print("fake vLLM with", *words, flush=True)  # noqa: T201  # a server's first line in its log
    with FakeVllm(port=int(settings["--port"])) as server:
        server.seconds, server.pollutable, server.polluted = 0.02, True, "--polluted" in settings
        threading.Event().wait()
