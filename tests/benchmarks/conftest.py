"""Where benchmarks leave what they measured."""

import os
from pathlib import Path

import pytest
from benchmarks import BENCHMARKS, PROPERTY, recorded, row
from measuring import configuration, drawn_pairs


@pytest.fixture
def record(record_property):
    """Take down a benchmark's ratio (a key of `experiments/benchmarks.py: BENCHMARKS`) and say it; `make benchmark` writes it.

    A bound that does not hold fails no test here: tests have limits of their own, beyond which something is broken.
    """

    def record(key, ratio, details):
        assert key in BENCHMARKS
        made = recorded(key, float(ratio), details)
        record_property(PROPERTY, (key, made))
        print(f"\n{row(key, made)}")

    return record


@pytest.fixture(scope="session")
def hh():
    """The configuration of `experiment=hh`, whose pairs come from the folder MVA_SHARED_DATA."""
    shared = os.environ.get("MVA_SHARED_DATA")
    if not shared or not Path(shared, "hh").is_dir():
        pytest.skip("no MVA_SHARED_DATA")
    return configuration("experiment=hh")


@pytest.fixture(scope="session")
def texts(hh):
    """Pairs of one value, in an order drawn once."""
    return drawn_pairs(hh, count=200)
