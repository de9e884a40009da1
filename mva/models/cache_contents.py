"""What a cache holds, and how its entries are removed: never one that a living process makes or has just used.

Known kinds and names alone are looked at: a folder that serves other purposes, too, keeps everything else.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from filelock import FileLock, Timeout

from mva.models.adapter_files import VECTOR
from mva.models.disk import explained
from mva.models.drafts import is_dead, is_draft
from mva.models.store import MANIFEST, Store, lock_name

KINDS = ("models", "wheels", "bases", "vectors", "snapshots", "tokens", "reference", "rewards", "parts", "unfinished")
DRAFT = "draft"
_RECENT = 600.0  # seconds: whoever asked for an entry so lately may still be reading it
_KEY = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Content:
    """An entry, an unfinished training, the parts of an unfinished pass, a fetched package, or a draft.

    `n_bytes` is its size on disk; `last_used` are seconds since the epoch; `what` says for whom it is, where a record
    tells, and is empty otherwise.
    """

    kind: str
    key: str
    path: Path
    n_bytes: int
    last_used: float
    what: str


def contents(store: Store) -> list[Content]:
    """List everything that the cache holds, the least lately used first."""
    listed = (_content(store, kind, path) for kind in KINDS for path in _paths(store.root / kind))
    return sorted(listed, key=lambda content: content.last_used)


def remove(store: Store, content: Content) -> bool:
    """Remove `content`; returns False, and leaves it, where a living process makes it or has just used it.

    Raises:
        DiskTrouble: If the cache can't be written.
    """
    if content.kind == DRAFT:
        if not is_dead(content.path):
            return False
        shutil.rmtree(content.path, ignore_errors=True)
        return True
    if time.time() - content.last_used < _RECENT:
        return False
    with explained(store.root, what="the removal"), ExitStack() as locks:
        try:
            for path in _locks(store, content):
                locks.enter_context(FileLock(path, timeout=0))
        except Timeout:
            return False
        _take_away(content.path)
        (store.root / "notes" / f"{lock_name(content.kind, content.key)}.json").unlink(missing_ok=True)
    return True


def _paths(home: Path) -> Iterator[Path]:
    """List what is ours in the folder of a kind."""
    for path in sorted(home.iterdir()) if home.is_dir() else ():
        fetched = home.name == "wheels" and path.suffix == ".whl"
        if path.is_symlink() or not (_KEY.fullmatch(path.name) or is_draft(path) or fetched):
            continue
        yield path


def _content(store: Store, kind: str, path: Path) -> Content:
    states = []
    for place in (path, *path.rglob("*")):
        with suppress(OSError):  # gone meanwhile
            states.append(place.lstat())
    n_bytes = sum(state.st_size for state in states if not S_ISDIR(state.st_mode))
    last_used = max((state.st_mtime for state in states), default=0.0)
    with suppress(OSError):
        last_used = (path / MANIFEST).stat().st_mtime
    return Content(DRAFT if is_draft(path) else kind, path.name, path, n_bytes, last_used, _what(store, kind, path))


def _locks(store: Store, content: Content) -> list[Path]:
    """The locks that whoever works on `content` holds."""
    folder = store.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"{lock_name(content.kind, content.key)}.lock"
    # A snapshot does not say whose it is, nor parts whose pass: they stay while any vector, or any pass, is under way.
    makers = {"snapshots": ["vectors"], "parts": ["reference", "rewards"]}.get(content.kind, [])
    return [own, *(path for maker in makers for path in sorted(folder.glob(f"{maker}-*.lock")))]


def _take_away(path: Path) -> None:
    """Remove a folder or file; a kill in the middle leaves a draft that the next put sweeps, and no damaged entry."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    doomed = path.with_name(f".{path.name[:12]}-removed_")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed)


def _what(store: Store, kind: str, path: Path) -> str:
    noted = store.note(kind, path.name).get("what")
    if isinstance(noted, str):
        return noted.removeprefix("the ")
    record = _read(path / VECTOR)
    if isinstance(value := record.get("value"), str):
        return f"snapshot of '{value}'" if kind == "snapshots" else f"vector '{value}'"
    model = _read(path / "config.json")
    for name in ("_name_or_path", "_model_name_or_path", "model_type"):
        if isinstance(model.get(name), str):
            return str(model[name])
    return ""


def _read(path: Path) -> dict[str, object]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
