"""A run's folder: its identity, its environment, and the records that every run leaves."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from mva.apps.stored_config import read_config
from mva.data.preference import ValueData
from mva.fingerprint import fingerprint
from mva.records import SCHEMA_VERSION, read_json, read_whole, write_json, write_text
from mva.runs.run_records import RECORDS

_EXECUTION_ONLY = ("paths", "tracking", "report", "hydra", "tune", "serve", "judge", "data_changed", "debug")
# Keys that there are no more, as they always were: so folders and jobs of earlier versions stay the same.
_DROPPED = {"evaluation": {"score_scaling": "none"}}
# Mappings whose names the user makes up: a name that is missing here is a difference, not a key of a later version.
_OPEN = ("values", "rewards", "coefficients", "adapters", "template_kwargs", "maximum", "minimum", "reference_point")


class FolderInUse(ValueError):
    """The folder holds a run of another configuration."""


def open_run_folder(folder: Path, config: DictConfig) -> Path:
    """Make `folder` the home of the run of `config`, or go on with the same run.

    Raises:
        FolderInUse: If the folder holds another configuration's run; its results would be mixed with ours.
        BrokenConfig: If the configuration in it can't be read. An empty one, which a killed run of an earlier version
            may have left, counts as none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    stored = _stored(path)
    if stored is not None and not _same_run(stored, config):
        raise FolderInUse(
            f"{folder} holds a run of another configuration: choose another hydra.run.dir "
            "(of a multirun: hydra.sweep.dir)."
        )
    write_text(path, OmegaConf.to_yaml(config, resolve=True))
    write_json(folder / "environment.json", environment(int(config.seed)))
    return folder


def check_data(folder: Path, fingerprints: Mapping[str, str], *, on_change: str) -> list[str]:
    """Compare the data with that of the run in `folder`; returns the values whose data has ever changed.

    A folder from before fingerprints were written is taken to have the same data.

    Raises:
        FolderInUse: If it changed, and `on_change` is "refuse".
        ValueError: If `on_change` is neither "refuse" nor "continue".
    """
    if on_change not in ("refuse", "continue"):
        raise ValueError(f"data_changed is '{on_change}': choose refuse or continue.")
    path = folder / "data.json"
    mend = "delete it, if the data is still that of the run here"
    record = read_json(path, RECORDS["data"], mend=mend) if path.exists() else {}
    before = {value: facts.get("fingerprint") for value, facts in record.get("values", {}).items()}
    changed = [value for value, mark in fingerprints.items() if before.get(value) not in (None, mark)]
    if changed and on_change == "refuse":
        raise FolderInUse(
            f"{folder} holds a run on other data: that of {', '.join(changed)} has changed since. Choose another "
            "hydra.run.dir, or say data_changed=continue to go on here: the earlier results are then left out."
        )
    return sorted({*record.get("changed", ()), *changed})


def data_fingerprint(data: ValueData) -> str:
    """Hash a value's pairs, split by split, as text."""
    return fingerprint([[split, [(p.prompt, p.chosen, p.rejected) for p in pairs]] for split, pairs in data.splits()])


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
            "memory_gb": _memory_gb(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def _stored(path: Path) -> dict[str, Any] | None:
    """Read the configuration of the run that the folder holds; None without any."""
    written = read_whole(path, mend="restore it, or delete it") if path.exists() else b""
    if not written.strip(b"\0 \r\n\t"):
        return None
    return read_config(written.decode(errors="replace"), where=str(path))


def identity(config: object) -> str:
    """Hash what a configuration says about the results; where they go and how they are shown plays no part.

    Nor does an empty mapping (`adapters: {}`), so that a folder written before there was such a key stays the same run.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return _identity(plain)


def _identity(plain: Mapping[Any, Any]) -> str:
    about = {name: node for name, node in plain.items() if name not in _EXECUTION_ONLY and node != {}}
    for group, dropped in _DROPPED.items():
        if isinstance(about.get(group), dict):
            about[group] = {**dropped, **about[group]}
    return fingerprint(about)


def _same_run(before: dict[str, Any], config: DictConfig) -> bool:
    """Compare what two configurations say about the results; keys that the stored one's version lacked don't count."""
    now: Any = OmegaConf.to_container(config, resolve=True)
    try:
        return _identity(_with_new_keys(before, now)) == _identity(now)
    except ValueError:
        return False  # what can't be hashed was no run's


def _with_new_keys(before: Any, now: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return before
    shared = {key: part if key in _OPEN else _with_new_keys(part, now.get(key)) for key, part in before.items()}
    # A run that did not know of such a mapping had nothing in it.
    new = {key: {} if key in _OPEN and isinstance(part, dict) else part for key, part in now.items()}
    return {**new, **shared}


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
