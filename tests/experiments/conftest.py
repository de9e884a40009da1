"""What the tests of scripts need: the scripts as modules, and run folders whose every score is known."""

import importlib
from itertools import combinations
from pathlib import Path

import pytest

from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front
from mva.records import write_json


@pytest.fixture
def script(monkeypatch):
    """Import a script by its name, as it is when it runs: beside the other scripts."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    return importlib.import_module


@pytest.fixture
def write_scored_run():
    """Write a run of `values` whose candidates, as tuples of coefficients, have these scores on both splits."""

    def write(folder, values, scores, *, seed=0, dependence=0.0, norm=1.0):
        folder.mkdir(parents=True, exist_ok=True)
        scored = {
            split: [
                ScoredCandidate(
                    Candidate(dict(zip(values, map(float, omegas), strict=True))),
                    dict(zip(values, map(float, of_values), strict=True)),
                    dict.fromkeys(values, 0.1),
                    4,
                    split,
                )
                for omegas, of_values in scores.items()
            ]
            for split in ("validation", "test")
        }
        for some in scored.values():
            Ledger(folder).add_scored(some, key="k")
        front = select_front(scored["validation"], values=values).with_held_out(scored["test"])
        pairs = [
            {"estimator": "Correlation", "view": "update", "first": first, "second": second, "z": 0.0,
             "dependence": dependence, "independent_training": 2 * dependence, "chance_mean": 0.0, "chance_sd": 1.0}
            for first, second in combinations(values, 2)
        ]  # fmt: skip
        reward = {"kind": "FittedHead", "accuracy": 0.8, "n_pairs": 90, "low": 0.7, "high": 0.9}
        kept = {"norm": 3.0, "norm_independent": 4.0, "score": 1.0, "score_independent": 1.5, "difference": -0.5,
                "low": -1.0, "high": 0.0, "n_prompts": 4}  # fmt: skip
        for name, record in {
            "front": front.to_json(),
            "environment": {"seed": seed},
            "rewards": {"rewards": {value: {**reward, "key": value} for value in values}},
            "dependence": {"pairs": pairs, "norms": dict.fromkeys(values, norm), "draws": 2},
            "preservation": {"values": dict.fromkeys(values[1:], kept)},
            "training": {"vectors": {value: {"cost": {"pairs": 10, "seconds": 1.5}} for value in values}},
        }.items():
            write_json(folder / f"{name}.json", {"schema_version": 1, **record})
        (folder / "config.yaml").write_text(f"seed: {seed}\n")
        (folder / "report.html").write_text("page")
        return folder

    return write
