"""Run folders and sweeps whose noise is known, for the tests of what they can tell."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("noisy_runs", Path(__file__).with_name("noisy_runs.py"))
noisy_runs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(noisy_runs)


@pytest.fixture
def write_noisy_run():
    return noisy_runs.write_noisy_run


@pytest.fixture
def write_noisy_sweep():
    return noisy_runs.write_noisy_sweep
