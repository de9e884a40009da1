"""What is asked of a vLLM server over HTTP, and what it answers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from mva.engines.base import Decoding, Request, Response
from mva.shapes import Mismatch, Shape, anything, fields, list_of, maybe, named, number, text, whole

_QUICK = 10.0  # seconds for an answer that needs no model
_LOADING = 300.0  # seconds for an adapter to be read
_LONGEST = 300  # characters of a server's sentence that are shown
_NO_JSON = "not JSON compliant"  # of a log-prob that is NaN
_LIKELIEST = 20  # tokens: the most that vLLM answers unless it was started otherwise
_SAME = 1e-5  # nats: log-probs of equal logits differ by less, those of a response hardly ever
_REFUSALS = (400, 404, 405, 413, 422, 500)  # 500: an adapter that the engine behind the server does not take

_VERSION = fields({"version": text})
_LOGPROBS = fields({"token_logprobs": list_of(anything, at_least=1)})
_COMPLETION = fields(
    {"choices": list_of(fields({"token_ids": list_of(whole, at_least=1), "logprobs": maybe(_LOGPROBS)}), at_least=1)}
)
_NAMED = fields({"top_logprobs": list_of(named(number, at_least=1), at_least=1)})
_NEXT = fields({"choices": list_of(fields({"logprobs": _NAMED}), at_least=1)})


class NoAnswer(OSError):
    """No whole answer came: the server is starting, busy, ill or gone. Another may answer."""


class Refused(ValueError):
    """The server read the request and refuses it; `reason` is its own."""

    def __init__(self, url: str, status: int, reason: str) -> None:
        super().__init__(f"{url} answered with the status {status} ({reason})")
        self.status, self.reason = status, reason


class NotFinite(ValueError):
    """The server says that logits are not finite, after the prompt or one of `tokens`."""

    def __init__(self, tokens: Sequence[int] = ()) -> None:
        super().__init__("it says that logits are not finite")
        self.tokens = tuple(tokens)


class Client:
    """A server's address; may be used by `connections` threads at once.

    `patience` are the seconds that a completion may take, `vocabulary` are the model's tokens.
    """

    def __init__(self, url: str, *, connections: int, patience: float, vocabulary: int) -> None:
        self.url, self._patience = url.rstrip("/"), patience
        self._uniform = -math.log(vocabulary)
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment knows no address of this machine
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def version(self) -> str:
        """Ask for vLLM's version, which a server says once it is ready.

        Raises:
            NoAnswer: If it is not ready, or no vLLM server.
        """
        self._send("GET", "/health", None, _QUICK)
        version: str = self._json("GET", "/version", None, _QUICK, _VERSION)["version"]
        return version

    def takes_adapters(self) -> bool:
        """Ask whether adapters can be loaded while the server runs.

        Raises:
            NoAnswer: If no answer comes.
        """
        try:
            self._send("POST", "/v1/load_lora_adapter", {}, _QUICK)
        except Refused as refused:
            return refused.status not in (404, 405)
        return True

    def load(self, name: str, folder: str) -> None:
        """Load the adapter in `folder` under a name.

        Raises:
            Refused: If the server can't use it.
            NoAnswer: If no answer comes.
        """
        body = {"lora_name": name, "lora_path": folder, "load_inplace": True}
        try:
            self._send("POST", "/v1/load_lora_adapter", body, _LOADING)
        except Refused as refused:
            if refused.status == 500:  # the adapter's fault, unless the server is ill
                self._send("GET", "/health", None, _QUICK)
            raise

    def unload(self, name: str) -> None:
        """Forget an adapter.

        Raises:
            Refused: If there is none of this name.
            NoAnswer: If no answer comes.
        """
        self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name}, _LOADING)

    def complete(self, request: Request, model: str, decoding: Decoding) -> Response:
        """Generate a response with the adapter `model`.

        Raises:
            NotFinite: If the server says so.
            Refused: If the server refuses the request.
            NoAnswer: If no answer comes, or one that is none.
        """
        body = _body(request.prompt, model)
        body |= {"max_tokens": decoding.max_new_tokens, "stop_token_ids": list(decoding.stop_ids)}
        body |= {"temperature": decoding.temperature, "logprobs": 0}
        if decoding.temperature > 0:
            body |= {"top_p": decoding.top_p, "seed": request.seed % 2**63}
        try:
            choice = self._completion(body, _COMPLETION)
        except NotFinite:  # it can't write the log-probs, but the tokens
            raise NotFinite(self._completion(body | {"logprobs": None}, _COMPLETION)["token_ids"]) from None
        if choice["logprobs"] is not None and not self._usable(choice["logprobs"]["token_logprobs"]):
            raise NotFinite(choice["token_ids"])
        return Response(request.id, tuple(choice["token_ids"]))

    def _usable(self, log_probs: Sequence[object]) -> bool:
        """Say whether a model said this: all that follows NaN is NaN, of which vLLM on a CPU makes equal logits."""
        numbers = [log_prob for log_prob in log_probs if isinstance(log_prob, float | int)]
        finite = len(numbers) == len(log_probs) and all(map(math.isfinite, numbers))
        return finite and abs(numbers[-1] - self._uniform) > _SAME

    def next_log_probs(self, prompt: Sequence[int], model: str) -> dict[int, float]:
        """Ask for the log-probs of the likeliest next tokens, by id.

        Not for those of the prompt's own tokens: beside other requests with adapters they kill vLLM 0.32 on a CPU.

        Raises:
            NotFinite: If the server says that these are not finite.
            Refused: If the server refuses the request.
            NoAnswer: If no answer comes, or one that is none.
        """
        body = _body(prompt, model)
        body |= {"max_tokens": 1, "temperature": 0, "logprobs": _LIKELIEST, "return_tokens_as_token_ids": True}
        by_name = self._completion(body, _NEXT)["logprobs"]["top_logprobs"][0]
        if not self._usable([max(by_name.values())]):
            raise NotFinite
        try:
            return {int(name.removeprefix("token_id:")): log_prob for name, log_prob in by_name.items()}
        except ValueError as error:
            raise NoAnswer(f"{self.url} answered tokens that are no ids") from error

    def _completion(self, body: Any, shape: Shape) -> dict[str, Any]:
        try:
            choice: dict[str, Any] = self._json("POST", "/v1/completions", body, self._patience, shape)["choices"][0]
        except Refused as refused:
            if _NO_JSON in refused.reason:
                raise NotFinite from refused
            if refused.status in (404, 500):  # it has lost the adapter, or is ill
                raise NoAnswer(str(refused)) from refused
            raise
        return choice

    def _json(self, method: str, path: str, body: Any, patience: float, shape: Shape) -> dict[str, Any]:
        reply = self._send(method, path, body, patience)
        try:
            answer: dict[str, Any] = reply.json()
            shape(answer)
        except Mismatch as mismatch:
            raise NoAnswer(f"{self.url}{path} answered what is no answer of vLLM's ({mismatch})") from mismatch
        except ValueError as error:
            raise NoAnswer(f"{self.url}{path} answered what is no JSON") from error
        return answer

    def _send(self, method: str, path: str, body: Any, patience: float) -> requests.Response:
        try:
            reply = self._session.request(method, self.url + path, json=body, timeout=(_QUICK, patience))
        except requests.RequestException as error:
            raise NoAnswer(f"{self.url}{path} did not answer ({type(error).__name__})") from error
        if reply.status_code == 200:
            return reply
        refused = Refused(self.url + path, reply.status_code, _reason(reply))
        if reply.status_code in _REFUSALS:
            raise refused
        raise NoAnswer(str(refused))


def _body(prompt: Sequence[int], model: str) -> dict[str, Any]:
    # Decoding is ours to define: what the model's own generation config would add is set to nothing.
    return {
        "model": model,
        "prompt": list(prompt),
        "return_token_ids": True,
        "ignore_eos": True,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def _reason(reply: requests.Response) -> str:
    """Take the reason out of an error's body; it has one in `error.message`."""
    try:
        answer = reply.json()
        reason = answer["error"]["message"] if isinstance(answer, Mapping) else answer
    except (ValueError, LookupError, TypeError):
        reason = reply.text
    return " ".join(str(reason).split())[:_LONGEST] or "no reason"
