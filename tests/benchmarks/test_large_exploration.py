"""10,000 candidates of 5 values: what search and front take, and what a response costs in the ledger."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mva.data.preference import user_prompt
from mva.engines.base import Response
from mva.evaluation.evaluator import Evaluator
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.extrapolation.explore import explore
from mva.extrapolation.space import CoefficientSpace
from mva.pareto.front import select_front
from mva.search.sobol import Sobol

pytestmark = pytest.mark.slow
VALUES = ("helpful", "harmless", "honest", "brief", "kind")


def test_search_and_front_of_ten_thousand_candidates(record):
    generator = np.random.default_rng(0)

    def scored(candidates):
        omegas = np.array([candidate.vector(VALUES) for candidate in candidates])
        scores = omegas - 0.4 * (omegas.sum(axis=1, keepdims=True) - omegas) + generator.normal(0, 0.05, omegas.shape)
        rows = [dict(zip(VALUES, row, strict=True)) for row in scores.tolist()]
        return [
            ScoredCandidate(c, row, dict.fromkeys(VALUES, 0.05), 500) for c, row in zip(candidates, rows, strict=True)
        ]

    since = time.process_time()
    front = select_front(explore(Sobol(10_000).start(CoefficientSpace(VALUES), seed=0), scored), values=VALUES)
    spent = time.process_time() - since
    record("large_front", spent / 5, f"Sobol, {len(front.points)} members: {spent:.2f} CPU s")
    assert spent < 5


class Saying:
    values, noise = VALUES, "none"

    def answer(self, requests, _decoding):
        for request in requests:
            yield Response(request.id, (1 + request.id,))


class Number:
    def __init__(self, k):
        self.key, self._k = f"number {k}", k

    def score(self, _prompts, responses):
        return torch.tensor([float(int(response.split()[0]) * (1 + self._k) % 997) for response in responses])


def test_a_response_in_the_ledger(tmp_path, record):
    n_candidates, n_prompts = 200, 500
    template = SimpleNamespace(
        key="t", tokenizer=SimpleNamespace(chat_template=None), stop_ids=[0], prompt_ids=lambda _: [5]
    )
    tokenizer = SimpleNamespace(decode=lambda ids, **_: f"{ids[0]} " + "words of a response " * 8)
    backbone = SimpleNamespace(fingerprint="base", name="base", template=template, tokenizer=tokenizer)

    def evaluator():
        return Evaluator(
            Saying(),
            backbone,
            {value: Number(k) for k, value in enumerate(VALUES)},
            prompts=[user_prompt(f"Prompt {k}. " + "It has a few more words. " * 6) for k in range(n_prompts)],
            split="validation",
            generation=GenerationSpec(max_new_tokens=40),
            ledger=Ledger(tmp_path),
            vector_keys=dict.fromkeys(VALUES, "k"),
        )

    omegas = np.random.default_rng(0).uniform(0, 1, (n_candidates, len(VALUES))).tolist()
    candidates = [Candidate(dict(zip(VALUES, row, strict=True))) for row in omegas]
    taken = {}
    for what in ("score, append and settle", "read again"):
        since = time.process_time()
        evaluate = evaluator()
        rewards = evaluate.rewards_array(evaluate(candidates), VALUES)
        taken[what] = 1e3 * (time.process_time() - since) / n_candidates / n_prompts
    assert rewards.shape == (n_candidates, n_prompts, len(VALUES))
    words = ", ".join(f"{what} {spent:.3f} CPU ms" for what, spent in taken.items())
    record("ledger", sum(taken.values()), f"200 candidates x 500 prompts x 5 values: {words}")
    assert sum(taken.values()) < 1
