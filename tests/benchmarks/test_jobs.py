"""What jobs share: a second job on the same data starts fast, and a sweep trains no vector twice."""

import time
from dataclasses import replace

import pytest
from measuring import configuration, spent

from mva.apps import assemble
from mva.experiment import open_session
from mva.models.store import Store
from mva.pipeline import train_vectors
from mva.stages import Stages

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FIRST_STEP = """
import os
from mva.training.module import ValueVectorModule

def leave(*_arguments):
    say_what_was_spent()
    os._exit(0)

ValueVectorModule.training_step = leave
from mva.apps.train import main
main()
"""


def test_a_second_job_on_the_same_data_starts_fast(hh, tmp_path, record):
    paths = [f"paths.cache={tmp_path / 'cache'}", f"model.source.cache={hh.paths.cache}"]

    def start(rank):
        words = ["experiment=hh", "tracking=local", f"adapter.rank={rank}", f"hydra.run.dir=run{rank}"]
        return spent(FIRST_STEP, *words, *paths, folder=tmp_path)

    first, second = start(8), start(16)
    ratio = first.cpu_seconds / second.cpu_seconds
    details = (
        f"SmolLM2, experiment=hh, another rank: {first.cpu_seconds:.0f} and {second.cpu_seconds:.0f} CPU s "
        f"({first.seconds:.0f} and {second.seconds:.0f} s by the clock)"
    )
    record("second_job", ratio, details)
    assert ratio > 2


STRENGTHS = (0.0, 1.0, 3.0, 10.0, 30.0)


def test_a_sweep_over_strengths_trains_no_vector_twice(tmp_path, record):
    config = configuration("trainer.recipe.steps=3", "trainer.execution.validation_pairs=0")
    experiment = assemble.experiment(config)
    data, _ = experiment.data.load(experiment.values)
    session = open_session(experiment, experiment.model.load(), data, Stages(tmp_path))
    keys = []

    def train(strength, store):
        decorrelation = replace(experiment.decorrelation, strength=strength)
        job = replace(session, experiment=replace(experiment, decorrelation=decorrelation, store=store))
        _ = job.tokenized  # read before the clock starts
        start = time.process_time()
        keys.extend(vector.key for vector in train_vectors(job, log=lambda _metrics, _step: None))
        return time.process_time() - start

    shared = Store(tmp_path / "shared")
    sweep = apart = 0.0
    for number, strength in enumerate(STRENGTHS):  # in turns
        apart += train(strength, Store(tmp_path / f"own{number}"))
        sweep += train(strength, shared)
    n_vectors = len(set(keys))
    details = (
        f"SmolLM2, bundled data, 3 steps of 4 pairs, no baseline: {n_vectors} vectors against "
        f"{2 * len(STRENGTHS)}, {sweep:.0f} and {apart:.0f} CPU s, references included"
    )
    record("sweep", apart / sweep, details)
    assert n_vectors == len(STRENGTHS) + 1
    assert apart > 1.3 * sweep
