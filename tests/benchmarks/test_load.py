"""5,000 candidates on 24 prompts: a candidate takes the same time and room at the end as at the beginning."""

import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines.hf import HfResponder
from mva.evaluation.evaluator import Evaluator
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.policies.per_row import PerRowPolicy
from mva.rewards.length import Length

pytestmark = pytest.mark.slow
VALUES = ("helpful", "harmless")
N_CANDIDATES, N_PROMPTS = 5000, 24
MOST_TIMES_SLOWER = 1.5
MOST_BYTES_A_RESPONSE = 4096
"""Scores, prompts and responses of the run are held in memory until its end; nothing else may grow."""


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Meter:
    """A progress bar that notes CPU seconds and memory after every batch."""

    def __init__(self):
        self.rows = [(0, time.process_time(), resident_bytes())]

    @contextmanager
    def bar(self, _description, _total):
        def advance(count):
            self.rows.append((self.rows[-1][0] + count, time.process_time(), resident_bytes()))

        yield advance

    def fifth(self, number):
        """Seconds and bytes that a fifth of all responses took, from 0 to 4."""
        done, seconds, memory = np.array(self.rows).T
        edges = np.array([number, number + 1]) * done[-1] / 5
        return tuple(float(np.diff(np.interp(edges, done, column))[0]) for column in (seconds, memory))


@pytest.fixture(scope="module")
def meter(vectors_of, tmp_path_factory):
    backbone = load_backbone(TinyRandom("llama", hidden_size=16, layers=1), dtype="float32", device="cpu")
    vectors = vectors_of(backbone)
    meter = Meter()
    evaluate = Evaluator(
        HfResponder(PerRowPolicy().build(backbone, vectors, Linear()), backbone),
        backbone,
        {"helpful": Length(), "harmless": Length(sign=-1)},
        prompts=[user_prompt(f"Question {number}?") for number in range(N_PROMPTS)],
        split="validation",
        generation=GenerationSpec(max_new_tokens=2, batch_size=256),
        ledger=Ledger(tmp_path_factory.mktemp("load")),
        vector_keys=dict.fromkeys(VALUES, "k"),
        bar=meter.bar,
    )
    omegas = np.random.default_rng(0).uniform(0, 1, (N_CANDIDATES, 2)).tolist()
    scored = evaluate([Candidate(dict(zip(VALUES, omega, strict=True))) for omega in omegas])
    assert len(scored) == N_CANDIDATES
    return meter


def test_the_last_candidates_take_no_longer_than_the_first(meter, record):
    first, last = meter.fifth(0)[0], meter.fifth(4)[0]
    ratio = last / first
    record("late_candidates", ratio, f"tiny model, {N_PROMPTS} prompts, 2 tokens: {last:.0f} and {first:.0f} CPU s")
    assert ratio < MOST_TIMES_SLOWER, [meter.fifth(number)[0] for number in range(5)]


def test_memory_grows_by_what_the_responses_hold_alone(meter):
    responses = N_CANDIDATES * N_PROMPTS / 5
    grown = [meter.fifth(number)[1] / responses for number in range(1, 5)]
    assert max(grown) < MOST_BYTES_A_RESPONSE, grown
