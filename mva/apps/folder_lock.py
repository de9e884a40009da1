"""One process at a time writes in a run's folder; readers need no lock."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mva.folders import check_folder
from mva.records import DRAFTS
from mva.terminal import Console

LOCK, WRITER = ".lock", ".writer"


class FolderBusy(ValueError):
    """Another process writes in the folder."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only process that writes in `folder`, which need not exist, until the end.

    The lock is the operating system's: that of a process that died is free. What such a process left half-written is
    removed. A process may take the lock several times.

    Raises:
        FolderBusy: If another process has it; the sentence names it.
        UnsafeFolder: If something in the folder leads out of it.
        OSError: If the folder can't be written.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.resolve() / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderBusy(
            f"{_writer(folder)} writes in {folder}: wait until it ends, stop it, or choose another hydra.run.dir."
        ) from None
    except NotImplementedError as error:  # filelock's, on a file system without locks: one process can still run there
        line = f"Note: {folder} can't be locked ({error}): see to it that nothing else writes there."
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
        yield
        return
    try:
        if lock.lock_counter == 1:
            _remove_drafts(folder)
            (folder / WRITER).write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):
                (folder / WRITER).unlink(missing_ok=True)
        lock.release()


def _this_process() -> str:
    return f"process {os.getpid()} ({Path(sys.argv[0]).stem}) on {socket.gethostname()}"


def _writer(folder: Path) -> str:
    try:
        written = (folder / WRITER).read_text(encoding="utf-8", errors="replace").strip()[:200]
    except OSError:
        written = ""
    return (written or "another process").capitalize()


def _remove_drafts(folder: Path) -> None:
    """Remove the drafts of records whose writers were killed: who holds the lock knows that nobody writes them."""
    for draft in folder.glob(DRAFTS):
        if draft.is_file():
            draft.unlink(missing_ok=True)


@contextmanager
def writing_if_allowed(folder: Path) -> Iterator[bool]:
    """Do the same for an app that has something to show without writing; a note says it where it may only read.

    Yields:
        Whether the folder can be written.
    """
    if os.access(folder, os.W_OK):
        with writing(folder):
            yield True
        return
    line = f"Note: {folder} can't be written (read-only, or no permission): it stays as it is."
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    yield False
