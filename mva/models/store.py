"""A content-addressed, crash-safe store: an entry is whole or absent, and is never written twice.

Layout: `<root>/<kind>/<key>/...` with a manifest (sha256 of each file), which is written last. What an entry holds is a
function of its key; who asked for it, and what making it took, stands in `<root>/notes/`.
"""

import hashlib
import json
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mva.fingerprint import fingerprint
from mva.models.disk import explained, not_writable
from mva.models.drafts import draft, sweep
from mva.records import write_json
from mva.terminal import Console

MANIFEST = "manifest.json"
_PATIENCE = 1.0  # seconds before a wait is said


def key_of(spec: object) -> str:
    """Address of what `spec` (finite plain data) determines: 40 hex digits of its sha256."""
    return fingerprint(spec)[:40]


class Store:
    """Folders by kind and key below `root`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()

    def get(self, kind: str, key: str) -> Path | None:
        """Return the entry's folder, or None where it is absent or damaged (which is told by a warning).

        The manifest's time of modification tells when the entry was last asked for.
        """
        folder = self.root / kind / key
        if not os.path.lexists(folder):
            return None
        if not is_whole(folder):
            warnings.warn(f"The stored entry {folder} is damaged: it is made anew.", stacklevel=2)
            return None
        with suppress(OSError):  # a cache that can only be read
            os.utime(folder / MANIFEST)
        return folder

    @contextmanager
    def making(self, kind: str, *keys: str, what: str) -> Iterator[None]:
        """Let one process at a time make the entries `keys`; look again inside the `with` whether they are there.

        Whoever waits says so in one line, with `what` and who makes it. The locks are the operating system's: those of
        a process that died are free. (On a network file system they need its lock daemon.) A store that can only be
        read needs no locks as long as it holds the entries.

        Raises:
            DiskTrouble: If an entry has to be made, and the store can't be written.
        """
        with ExitStack() as locks, explained(self.root, what=what):
            try:
                folder = self._folder("locks")
                for key in sorted(keys):  # always in the same order, so that nobody waits for each other
                    locks.enter_context(_held(folder / lock_name(kind, key), what))
            except OSError as error:
                if not not_writable(error) or not all(is_whole(self.root / kind / key) for key in keys):
                    raise
            held = locks.pop_all()
        with held:
            yield
            for key in keys:
                if os.path.lexists(self.root / kind / key) and "what" not in self.note(kind, key):
                    self.annotate(kind, key, what=what)

    def put(self, kind: str, key: str, write: Callable[[Path], None]) -> Path:
        """Let `write` fill a new entry's folder and return its final place.

        Where another process was faster its entry is kept. If `write` raises, nothing is left behind. What a killed
        process left behind is swept.

        Raises:
            DiskTrouble: If the disk is full, or the store can't be written.
        """
        target = self.root / kind / key
        with explained(self.root, what=f"the entry {kind}/{key}"):
            home = self._folder(kind)
            sweep(home)
            with draft(home) as content:
                write(content)
                _seal(content)
                with FileLock(self._folder("locks") / f"put-{lock_name(kind, '')}.lock"):
                    if os.path.lexists(target) and not is_whole(target):
                        _remove(target)
                    if not target.is_dir():
                        content.rename(target)
        return target

    def note(self, kind: str, key: str) -> dict[str, Any]:
        """Return what is known of an entry beside its content: `what` it is, and what making it took; may be empty."""
        try:
            record = json.loads(self._note_path(kind, key).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}

    def annotate(self, kind: str, key: str, **facts: object) -> None:
        """Add to an entry's note. Nothing depends on notes: where they can't be written they are left out."""
        with suppress(OSError):
            path = self._note_path(kind, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**self.note(kind, key), **facts})

    def _note_path(self, kind: str, key: str) -> Path:
        return self.root / "notes" / f"{lock_name(kind, key)}.json"

    def _folder(self, kind: str) -> Path:
        folder = self.root / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def lock_name(kind: str, key: str) -> str:
    """Name the lock (and the note) of an entry."""
    return f"{kind}-{key}".replace("/", "-")


def is_whole(folder: Path) -> bool:
    """Say whether a folder holds the files that its manifest lists, at least one, byte for byte, and no others."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = {path.relative_to(folder).as_posix() for path in _files(folder)}
        if not names or not isinstance(manifest, dict) or manifest.keys() != names:
            return False
        return all(_sha256(folder / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, RecursionError):
        return False


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


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path) -> None:
    for path in _files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    manifest = {path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder)}
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
