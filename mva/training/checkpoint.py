"""Crash-safe checkpoints: written beside their target, synced to disk, moved into place at once, checked when read.

A training's folder holds `last.ckpt`, the checkpoint before it (`previous.ckpt`), and `last.ckpt.sha256`: the digests
of the checkpoints that were written last, the newest first. Wherever a kill falls, a whole checkpoint is listed.
"""

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from mva.models.disk import explained

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_DIGESTS = "last.ckpt.sha256"
_LISTED = 4  # of the digests: the two checkpoints', and those that kills left without a file
_DRAFT = ".partial-"
_PARTS = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "epoch"}


class AtomicCheckpointIO(CheckpointIO):
    """A checkpoint file is either whole or absent, also after a power cut; the one before it stays.

    Lightning's own saves go through TMPDIR, which may be another file system, and are not synced.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write `checkpoint` to `path`, atomically.

        Raises:
            DiskTrouble: If the disk is full, or can't be written.
        """
        target = Path(path)
        with explained(target.parent, what="the checkpoint of an unfinished training"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=_DRAFT) as folder:
                draft, digests = Path(folder, target.name), Path(folder, _DIGESTS)
                with draft.open("wb") as file:
                    torch.save(checkpoint, file)
                    _sync(file)
                with digests.open("w", encoding="utf-8") as file:
                    file.write("\n".join([_sha256(draft), *_listed(target.parent)][:_LISTED]) + "\n")
                    _sync(file)
                digests.replace(target.parent / _DIGESTS)
                if target.exists():
                    target.replace(target.parent / PREVIOUS)
                draft.replace(target)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[[Any, str], Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; only tensors and plain containers are ever unpickled."""
        return torch.load(path, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def usable_checkpoint(folder: Path) -> Path | None:
    """Choose the checkpoint from which the training in `folder` continues; None where it begins.

    A damaged one is named in a warning and removed; so is everything else that is in the way of the next one.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        _leave_out(folder, "it is a file, not a folder of checkpoints")
    for draft in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)
    for path in (folder / LAST, folder / PREVIOUS):
        if not os.path.lexists(path):
            continue
        if (damage := _damage(path)) is None:
            return path
        _leave_out(path, damage)
    return None


@contextmanager
def nothing_infinite_stays(folder: Path) -> Iterator[None]:
    """Remove the checkpoints in `folder` where the training inside the `with` ends in numbers that are not finite."""
    try:
        yield
    except FloatingPointError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _leave_out(path: Path, damage: str) -> None:
    warnings.warn(
        f"The checkpoint {path} of an unfinished training is damaged ({damage}): it is left out, and training "
        f"continues from the one before it, or else from the beginning.",
        stacklevel=3,
    )
    with explained(path, what="the next checkpoint"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _damage(path: Path) -> str | None:
    """Say what is wrong with a checkpoint; None if nothing is."""
    try:
        if (path.parent / _DIGESTS).exists():
            return None if _sha256(path) in _listed(path.parent) else "its sha256 is not that of any that was written"
        # Earlier versions wrote no digests.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        return f"unreadable, {error.strerror or error}"
    except Exception as error:  # whatever flipped bytes make of a pickle
        return f"unreadable, {type(error).__name__}"
    if not isinstance(checkpoint, dict) or not checkpoint.keys() >= _PARTS:
        return "it lacks what a training needs"
    return None


def _listed(folder: Path) -> list[str]:
    try:
        return (folder / _DIGESTS).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
