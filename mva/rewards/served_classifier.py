"""A sequence classifier behind vLLM's pooling API: it scores on its own device while the next responses are generated.

    POST {server}/classify    {"model": ..., "input": [[id, ...], ...], "use_activation": false}
    answer                    {"data": [{"index": k, "probs": [logit, ...]}, ...]}

The ids are made here, by the template and the tokenizer of `reward.path`, so that a served model reads the same tokens
as one that is loaded. Without the activation `probs` are the logits.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
import torch
from requests.adapters import HTTPAdapter
from torch import Tensor
from urllib3.util import Retry

from mva.data.preference import Dialogue
from mva.models.store import key_of
from mva.rewards.classifier_text import ClassifierText
from mva.shapes import Mismatch, Shape, anything, count, fields, list_of, number, text

_CONNECTIONS = 4  # requests under way at once
_PATIENCE = 300.0  # seconds for a batch
_QUICK = 10.0  # seconds for an answer that needs no model
_RETRIES = 5
_LONGEST = 300  # characters of a server's sentence that are shown

_MODELS = fields({"data": list_of(fields({"id": text}, {"root": anything, "max_model_len": anything}), at_least=1)})
_SCORES = fields({"data": list_of(fields({"index": count, "probs": list_of(number, at_least=1)}))})


class RewardServerTrouble(OSError):
    """The server of a reward can't be reached, or does not answer as vLLM's pooling API does."""


class RewardServer:
    """The pooling API at `url`, with the first model that it serves."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        again = Retry(
            total=_RETRIES, backoff_factor=0.5, status_forcelist=[429, 502, 503, 504], allowed_methods=None,
            raise_on_status=False,
        )  # fmt: skip
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment knows no address of this machine
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=again))
        record = self._ask("get", "/v1/models", _MODELS, timeout=_QUICK)["data"][0]
        self.model: str = record["id"]
        self.root = str(record.get("root") or self.model)
        longest = record.get("max_model_len")
        self.max_tokens: int | None = longest if isinstance(longest, int) else None

    def logits(self, rows: Sequence[Sequence[int]], *, batch_size: int) -> list[list[float]]:
        """Classify token ids, `batch_size` texts a request. Returns each text's logits.

        Raises:
            RewardServerTrouble: If the server does not answer, or not as it should.
        """
        batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            answers = list(pool.map(self._classify, batches))
        return [logits for answer in answers for logits in answer]

    def _classify(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        body = {"model": self.model, "input": [list(row) for row in batch], "use_activation": False}
        data = self._ask("post", "/classify", _SCORES, timeout=_PATIENCE, json=body)["data"]
        by_index = {row["index"]: row["probs"] for row in data}
        if sorted(by_index) != list(range(len(batch))):
            raise RewardServerTrouble(f"{self.url}/classify answered {len(data)} of {len(batch)} texts.")
        return [by_index[k] for k in range(len(batch))]

    def _ask(self, method: str, path: str, shape: Shape, *, timeout: float, json: Any = None) -> Any:
        where = f"{self.url}{path}"
        try:
            reply = self._session.request(method, where, json=json, timeout=timeout)
        except requests.RequestException as error:
            raise RewardServerTrouble(
                f"The server of a reward at {where} does not answer ({type(error).__name__}): start it, or mend "
                "reward.server."
            ) from error
        if reply.status_code != 200:
            raise RewardServerTrouble(
                f"The server of a reward at {where} answered with the status {reply.status_code}: "
                f"{reply.text[:_LONGEST]!r}. It must serve a sequence-classification model with vLLM's pooling runner."
            )
        try:
            record = reply.json()
            shape(record)
        except (ValueError, RecursionError, Mismatch) as error:
            raise RewardServerTrouble(f"{where} does not answer as vLLM's pooling API does: {error}.") from error
        return record


class ServedClassifier:
    """A sequence classifier on a server, read at logit `label`, times `sign`.

    What its scores depend on is `described`; of the weights nothing is known but the name of what is served.
    """

    def __init__(
        self,
        server: RewardServer,
        written: ClassifierText,
        *,
        label: int,
        sign: int,
        batch_size: int,
        described: Mapping[str, object],
    ) -> None:
        self.key = key_of({**described, "served": server.root})
        self._server, self._written = server, written
        self._label, self._sign, self._batch_size = label, sign, batch_size

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score with the chosen logit, times the sign. Shape: `(n,)`.

        Raises:
            RewardServerTrouble: If the server does not answer, or its model has no such label.
        """
        rows = self._written.tokens(prompts, responses)
        logits = self._server.logits(rows, batch_size=self._batch_size)
        n_labels = min(map(len, logits), default=self._label + 1)
        if n_labels <= self._label:
            raise RewardServerTrouble(
                f"The model at {self._server.url} has {n_labels} labels: reward.label can't be {self._label}."
            )
        return self._sign * torch.tensor([row[self._label] for row in logits], dtype=torch.float64)
