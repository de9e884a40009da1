"""Whatever JSON lies in a stranger's records: readers give a result, or refuse it in one sentence."""

import json
import random

import pytest
import torch

from mva.evaluation.ledger import Ledger
from mva.models.adapter_files import load_adapter, save_adapter
from mva.models.value_vector import LowRank, ValueVector
from mva.runs.run_folder import read_run
from mva.runs.sweep_folder import read_sweep

pytestmark = pytest.mark.filterwarnings("ignore:.* is unfinished:UserWarning")

RECORDS = (
    "front.json", "candidates.jsonl", "generations.jsonl", "rewards.json", "timings.json", "training.json", "data.json",
    "dependence.json", "interference.json", "preservation.json", "model.json", "evaluations.json", "environment.json",
    "metrics.jsonl", "config.yaml",
)  # fmt: skip
WORDS = (
    "schema_version",
    "values",
    "points",
    "id",
    "scores",
    "seconds",
    "coefficients",
    "helpful",
    "harmless",
    "key",
    "split",
)


def arbitrary(rng, depth=0):
    """Draw a JSON value, often with keys that records have."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind == 6:
        return [arbitrary(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind >= 7:
        return {rng.choice(WORDS): arbitrary(rng, depth + 1) for _ in range(rng.randrange(5))}
    return rng.choice(
        [
            None,
            True,
            -1,
            0,
            10**400,
            1e308,
            float("nan"),
            float("-inf"),
            "",
            "\x1b[2J",
            "test",
            "\ud800",
            "a" * 300,
            0.5,
        ]
    )


def mutated(record, rng):
    """Put something arbitrary into one place of a record."""
    if isinstance(record, dict) and record and rng.random() < 0.85:
        key = rng.choice(list(record))
        return {**record, key: mutated(record[key], rng)}
    if isinstance(record, list) and record and rng.random() < 0.85:
        place = rng.randrange(len(record))
        return [*record[:place], mutated(record[place], rng), *record[place + 1 :]]
    return arbitrary(rng)


def spoilt(text, name, rng):
    """Spoil the text of a record: as JSON, or as text."""
    if rng.random() < 0.2:
        place = rng.randrange(len(text) + 1)
        return text[:place] + rng.choice(["", "{", "\x00", "[" * 20_000, "9" * 5_000, ","]) + text[place:]
    if name.endswith(".jsonl"):
        lines = text.splitlines()
        place = rng.randrange(len(lines))
        return (
            "\n".join([*lines[:place], json.dumps(mutated(json.loads(lines[place]), rng)), *lines[place + 1 :]]) + "\n"
        )
    return json.dumps(mutated(json.loads(text) if name.endswith(".json") else {}, rng))


def check_readers(folder, name, rng):
    """Spoil one record of a run's folder, read the folder, and put the record back."""
    path = folder / name
    before = path.read_text(encoding="utf-8")
    path.write_text(spoilt(before, name, rng), encoding="utf-8", errors="surrogatepass")
    readers = (read_run, lambda place: Ledger(place).scored("k"), lambda place: read_sweep(place.parent))
    refused = sum(is_refused(read, folder) for read in readers)
    path.write_text(before, encoding="utf-8")
    return refused


def is_refused(read, folder):
    """Read a folder; anything but a result or an error with a sentence leaves this function."""
    try:
        read(folder)
    except (ValueError, OSError) as error:
        return bool(str(error).strip())
    return False


@pytest.fixture
def folder(tmp_path, make_run_folder):
    return make_run_folder(tmp_path / "sweep" / "run", 2)


def check_many(folder, n_each, *, seed):
    rng = random.Random(seed)
    present = [name for name in RECORDS if (folder / name).is_file()]
    assert len(present) > 8
    refused = sum(check_readers(folder, name, rng) for name in present for _ in range(n_each))
    assert refused > 0.2 * n_each * len(present)


def test_a_hundred_spoilt_records_are_read_or_refused(folder):
    check_many(folder, 10, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_thousands_of_spoilt_records_are_read_or_refused(folder, seed):
    check_many(folder, 200, seed=seed)


@pytest.fixture
def vector(tmp_path):
    factors = {"layer": LowRank(torch.ones(2, 4), torch.ones(3, 2), 1.0)}
    save_adapter(ValueVector("helpful", factors, "base", "key", {}), tmp_path / "helpful")
    return tmp_path / "helpful"


def test_spoilt_records_of_a_vector_are_read_or_refused(vector):
    rng, path = random.Random(0), vector / "mva_vector.json"
    before = path.read_text(encoding="utf-8")
    refused = 0
    for _ in range(300):
        path.write_text(spoilt(before, path.name, rng), encoding="utf-8", errors="surrogatepass")
        refused += is_refused(load_adapter, vector)
    assert refused > 100
