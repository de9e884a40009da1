"""Folders of strangers: nothing in them may lead out of them, and nothing in them may block who reads it.

Archives carry symbolic links. One from `figures` to your home would let a report be written there; a pipe in place of a
record would let its reader wait for ever.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mva.terminal import visible

# W&B links to its latest run from inside its folder, by paths that a copy of the folder leaves behind.
_NOT_ENTERED = ("wandb",)


class UnsafeFolder(ValueError):
    """A folder that holds a link out of it, or something that is neither a file nor a folder."""


def check_folder(folder: Path, *, below: bool = True) -> Path:
    """Return `folder` if all that lies in it stays in it; the folder itself may be a link, and need not exist.

    Args:
        folder: What is about to be read or written.
        below: Whether to look into its subfolders, too.

    Raises:
        UnsafeFolder: If it holds a symbolic link that leads out of it, or a pipe, socket or device.
    """
    home = os.path.realpath(folder)
    for entry in _entries(home, below=below):
        shown = visible(os.path.relpath(entry.path, home), one_line=True)
        target = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
        if os.path.commonpath([home, target]) != home:
            raise UnsafeFolder(
                f"{folder} holds a link that leads out of it, {shown}, to {visible(target, one_line=True)}: remove "
                "the link, or put a copy of what it leads to in its place."
            )
        if Path(target).exists() and not (entry.is_file() or entry.is_dir()):
            raise UnsafeFolder(f"{folder} holds {shown}, which is neither a file nor a folder: remove it.")
    return folder


def _entries(home: str, *, below: bool) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder (and below), links included; links are not followed."""
    waiting = [home]
    while waiting:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if below and entry.is_dir(follow_symlinks=False) and entry.name not in _NOT_ENTERED:
                    waiting.append(entry.path)
