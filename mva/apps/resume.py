"""The command that continues a run that was stopped: what the user typed, and the run's folder."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mva.shell import command_line, override

_FOLDER_KEYS = ("hydra.run.dir", "hydra.sweep.dir")

_folder: dict[str, str] = {}


def remember(key: str, folder: str) -> None:
    """Note where the run under way writes: `key` is `hydra.run.dir`, or `hydra.sweep.dir` of a multirun."""
    _folder.clear()
    _folder[key] = folder


def stop_message(argv: Sequence[str]) -> str:
    """Say that nothing is lost, with the command that continues; `argv` is the command line that was stopped."""
    if not _folder:
        return "Stopped before the run had a folder: start it again with the same command."
    ((key, folder),) = _folder.items()
    words = [word for word in argv[1:] if not word.startswith(tuple(f"{known}=" for known in _FOLDER_KEYS))]
    line = command_line([*_program(argv[0]), *words, override(key, folder)])
    return f"Stopped. Nothing is lost; this continues:\n  {line}"


def _program(path: str) -> list[str]:
    """Name the program as it was started: a script, or a module run with `python -m` or `torchrun -m`."""
    if path.endswith(".py"):
        module, n_processes = f"mva.apps.{Path(path).stem}", os.environ.get("LOCAL_WORLD_SIZE", "1")
        if "TORCHELASTIC_RUN_ID" in os.environ and n_processes != "1":
            return ["torchrun", "--nproc-per-node", n_processes, "-m", module]
        return [sys.executable, "-m", module]
    return [path]
