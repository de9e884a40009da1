"""What a run stands on (environment.json): seed, code revision, package versions, machine."""

import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import torch


def environment(seed: int) -> dict[str, object]:
    """Describe what a run stands on: seed, code revision, package versions, machine."""
    return {
        "seed": seed,
        "git_revision": _git_revision(),
        "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
        "python": platform.python_version(),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gb": _memory_gb(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def _git_revision() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _memory_gb() -> float | None:
    """Ask the system for its memory; None where Python can't (Windows)."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
