import math
import sys
from types import SimpleNamespace

import pytest

from mva.apps import train
from mva.runs.run_folder import read_run
from mva.runs.sweep_folder import read_outcome


def test_the_objective_is_the_mean_of_what_each_vector_said_last():
    metrics = [
        {"step": 1, "train/helpful/accuracy": 0.1, "validation/helpful/accuracy": 0.2},
        {"step": 2, "validation/helpful/accuracy": 0.5, "validation/helpful/reward_margin": 9.0},
        {"step": 2, "validation/harmless/accuracy": 0.75},
    ]
    assert train.held_out_accuracy(SimpleNamespace(metrics=metrics)) == 0.625


def test_without_held_out_pairs_there_is_no_objective():
    assert math.isnan(train.held_out_accuracy(SimpleNamespace(metrics=[{"step": 1, "train/helpful/accuracy": 0.1}])))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_sweep_over_training_gives_its_sweeper_the_accuracy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["debug=smoke", "tracking=local", "paths.cache=cache", "penalty.baseline=false", "trainer.recipe.steps=1"]
    monkeypatch.setattr(sys, "argv", ["mva-train", "-m", "hydra.sweep.dir=F", *words, "seed=0"])
    train.main()
    (folder,) = (path.parent for path in tmp_path.glob("F/*/outcome.json"))
    assert read_outcome(folder).objective == pytest.approx(train.held_out_accuracy(read_run(folder)))
