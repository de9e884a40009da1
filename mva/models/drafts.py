"""Folders under way: each belongs to a process, and those of the dead are swept."""

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_ABANDONED = 86_400.0  # seconds without a change after which a draft belongs to nobody, wherever its process ran
_NAME = re.compile(r"\.draft-(?P<host>.+)-(?P<pid>\d+)-[^-]*")
_UNOWNED = re.compile(r"\.[0-9a-f]{12}-[a-z0-9_]{8}")  # as earlier versions named them


@contextmanager
def draft(home: Path) -> Iterator[Path]:
    """Give an empty folder below `home`, to be filled and moved; what is left of it goes at the end.

    A lock of the operating system beside it tells that its process lives.
    """
    base = Path(tempfile.mkdtemp(prefix=f".draft-{_host()}-{os.getpid()}-", dir=home))
    try:
        with FileLock(base / "lock"):
            content = base / "content"
            content.mkdir()
            yield content
    finally:
        shutil.rmtree(base, ignore_errors=True)


def sweep(home: Path) -> None:
    """Remove the drafts in `home` whose process is dead: on this machine at once, on others after a day of silence."""
    for path in home.glob(".*-*"):
        if is_dead(path):
            shutil.rmtree(path, ignore_errors=True)


def is_draft(path: Path) -> bool:
    """Say whether a folder's name is that of a draft."""
    return bool(_NAME.fullmatch(path.name) or _UNOWNED.fullmatch(path.name))


def is_dead(path: Path) -> bool:
    """Say whether `path` is a draft that nobody works on any more."""
    owner = _NAME.fullmatch(path.name)
    if owner is None and not _UNOWNED.fullmatch(path.name):
        return False
    with suppress(OSError):
        died_here = owner is not None and owner["host"] == _host() and not _is_running(int(owner["pid"]))
        silent = time.time() - _last_change(path) > _ABANDONED
        return (died_here or silent) and not _is_locked(path)
    return False


def _host() -> str:
    return re.sub(r"[^\w.-]", "_", socket.gethostname())


def _is_locked(path: Path) -> bool:
    if not (path / "lock").exists():
        return False
    try:
        with FileLock(path / "lock", timeout=0):
            return False
    except Timeout:
        return True


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _last_change(path: Path) -> float:
    return max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
