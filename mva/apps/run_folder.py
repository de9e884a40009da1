"""A run's folder: its identity, its environment, and the records that every run leaves."""

import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from mva.fingerprint import fingerprint
from mva.records import SCHEMA_VERSION, write_json

_EXECUTION_ONLY = ("paths", "tracking", "report", "hydra", "tune", "serve", "judge")


class FolderInUse(ValueError):
    """The folder holds a run of another configuration."""


def open_run_folder(folder: Path, config: DictConfig) -> Path:
    """Make `folder` the home of the run of `config`, or go on with the same run.

    Raises:
        FolderInUse: If the folder holds another configuration's run; its results would be mixed with ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    if path.exists() and identity(OmegaConf.load(path)) != identity(config):
        raise FolderInUse(
            f"{folder} holds a run of another configuration: choose another hydra.run.dir "
            "(of a multirun: hydra.sweep.dir)."
        )
    path.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")
    write_json(folder / "environment.json", environment(int(config.seed)))
    return folder


def environment(seed: int) -> dict[str, object]:
    """Describe what a run stands on: seed, code revision, package versions, machine."""
    return {
        "schema_version": SCHEMA_VERSION,
        "seed": seed,
        "git_revision": _git_revision(),
        "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
        "python": platform.python_version(),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def identity(config: object) -> str:
    """Hash what a configuration says about the results; where they go and how they are shown plays no part.

    Nor does an empty mapping (`adapters: {}`), so that a folder written before there was such a key stays the same run.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return fingerprint({name: node for name, node in plain.items() if name not in _EXECUTION_ONLY and node != {}})


def _git_revision() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
