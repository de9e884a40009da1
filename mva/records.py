"""How JSON records and folders are written: whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA_VERSION = 1


def write_json(path: Path, record: object) -> None:
    """Write `record` to `path` atomically.

    Raises:
        ValueError: If the record holds NaN or infinity, which JSON has no words for.
    """
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to be filled, which takes the place of `folder` (and of all that it held) at the end.

    If the `with` raises, `folder` is as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", dir=folder.parent))
    draft, old = home / "new", home / "old"
    try:
        draft.mkdir()
        yield draft
        for path in draft.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if folder.is_dir():
            folder.rename(old)
        draft.rename(folder)
    finally:
        if old.is_dir() and not folder.is_dir():
            old.rename(folder)
        shutil.rmtree(home, ignore_errors=True)
