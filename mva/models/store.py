"""A content-addressed, crash-safe store: an entry is whole or absent, and is never written twice.

Layout: `<root>/<kind>/<key>/...` with a manifest (sha256 of each file), which is written last.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mva.fingerprint import fingerprint
from mva.terminal import Console

_MANIFEST = "manifest.json"
_PATIENCE = 1.0  # seconds before a wait is said


def key_of(spec: object) -> str:
    """Address of what `spec` (finite plain data) determines: 40 hex digits of its sha256."""
    return fingerprint(spec)[:40]


class Store:
    """Folders by kind and key below `root`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()

    def get(self, kind: str, key: str) -> Path | None:
        """Return the entry's folder, or None where it is absent or damaged (which is told by a warning)."""
        folder = self.root / kind / key
        if not folder.is_dir():
            return None
        if not _is_whole(folder):
            warnings.warn(f"The stored entry {folder} is damaged: it is made anew.", stacklevel=2)
            return None
        return folder

    @contextmanager
    def making(self, kind: str, *keys: str, what: str) -> Iterator[None]:
        """Let one process at a time make the entries `keys`; look again inside the `with` whether they are there.

        Whoever waits says so in one line, with `what` and who makes it. The locks are the operating system's: those of
        a process that died are free. (On a network file system they need its lock daemon.)
        """
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            for key in sorted(keys):  # always in the same order, so that nobody waits for each other
                locks.enter_context(_held(folder / f"{kind}-{key}", what))
            yield

    def put(self, kind: str, key: str, write: Callable[[Path], None]) -> Path:
        """Let `write` fill a new entry's folder and return its final place.

        Where another process was faster its entry is kept. If `write` raises, nothing is left behind.
        """
        target = self.root / kind / key
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{key[:12]}-", dir=target.parent))
        try:
            write(draft)
            _seal(draft)
            with FileLock(target.parent / f".{key}.lock"):
                if target.is_dir() and not _is_whole(target):
                    shutil.rmtree(target)
                if not target.is_dir():
                    draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return target


@contextmanager
def _held(path: Path, what: str) -> Iterator[None]:
    lock, maker = FileLock(f"{path}.lock"), path.with_suffix(".maker")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        who = maker.read_text(encoding="utf-8") if maker.exists() else "another process"
        line = f"Waiting for {who}, which makes {what}."
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
        lock.acquire(poll_interval=0.2)
    try:
        maker.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        maker.unlink(missing_ok=True)
        lock.release()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path) -> None:
    for path in _files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    manifest = {str(path.relative_to(folder)): _sha256(path) for path in _files(folder)}
    with (folder / _MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())


def _is_whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return all(_sha256(folder / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False
