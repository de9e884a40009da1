"""How JSON records and folders are written (whole or not at all) and read (of the expected shape or refused)."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from mva.shapes import Mismatch, Shape

SCHEMA_VERSION = 1
DRAFTS = ".*.draft"
LARGEST_RECORD = 1 << 28  # bytes; a file that claims more would take the memory of who reads it

_ELSEWHERE = "write elsewhere (hydra.run.dir for a run, paths.cache for the cache)"
_MENDS = {
    errno.ENOSPC: f"free space on that file system, or {_ELSEWHERE}; the same command then goes on",
    errno.EDQUOT: f"delete files of yours there, or {_ELSEWHERE}; the same command then goes on",
    errno.EFBIG: f"raise the limit on file sizes (ulimit -f), or {_ELSEWHERE}",
    errno.EROFS: f"mount it writable, or {_ELSEWHERE}",
    errno.EACCES: f"change its permissions, or {_ELSEWHERE}",
    errno.EPERM: f"change its permissions, or {_ELSEWHERE}",
    errno.EIO: "the device or its connection fails: save what you can, and check it",
}


class BrokenRecord(ValueError):
    """A JSON record that can't be read, or is of another shape than expected."""


class Undecodable(ValueError):
    """A text that is no JSON record, or one of another shape: what is wrong with it, without its place."""


def write_json(path: Path, record: object) -> None:
    """Write `record` to `path` atomically.

    Raises:
        ValueError: If the record holds NaN or infinity, which JSON has no words for.
        OSError: If it can't be written; the error names `path`, and what was there before is still there.
    """
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write `text` to `path` atomically, in UTF-8; `errors` says what becomes of half characters.

    Raises:
        OSError: If it can't be written; the error names `path`, and what was there before is still there.
    """
    write_bytes(path, text.encode(errors=errors))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: after a kill or a power cut the old or the new content is there.

    Raises:
        OSError: If it can't be written; the error names `path`, and what was there before is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise naming(error, path) from error
    _sync_folder(path.parent)


def naming(error: OSError, path: Path) -> OSError:
    """Make an error that names `path`: failed writes know no file, and drafts have names that say nothing to users."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))


def in_one_sentence(error: Exception) -> str:
    """Say what went wrong; of a disk that refuses: which file can't be read or written, why, and how to mend it."""
    mend = _MENDS.get(error.errno or 0) if isinstance(error, OSError) else None
    if mend is None or not isinstance(error, OSError):
        return str(error)
    return f"{error.filename or 'A file can not be written'}: {error.strerror}: {mend}."


def read_json(path: Path, shape: Shape, *, mend: str, error: type[ValueError] = BrokenRecord) -> Any:
    """Read a JSON record.

    Raises:
        ValueError: Of the class `error`, in one sentence that ends with `mend` (what to do about it), if the file is
            no JSON, or of another shape.
        OSError: If it can't be read.
    """
    return parse_json(read_whole(path, mend=mend, error=error), shape, where=str(path), mend=mend, error=error)


def read_whole(path: Path, *, mend: str, error: type[ValueError] = BrokenRecord) -> bytes:
    """Read a record's bytes.

    Raises:
        ValueError: Of the class `error`, if the file is far larger than any record.
        OSError: If it can't be read.
    """
    size = path.stat().st_size
    if size > LARGEST_RECORD:
        raise error(f"{path} has {size} bytes, more than a record of at most {LARGEST_RECORD}: {mend}.")
    return path.read_bytes()


def parse_json(content: bytes, shape: Shape, *, where: str, mend: str, error: type[ValueError] = BrokenRecord) -> Any:
    """Read a JSON text that stands at `where`; see `read_json`."""
    try:
        return decode(content, shape)
    except Undecodable as problem:
        raise error(f"{where} {problem}: {mend}.") from None


def decode(content: bytes, shape: Shape) -> Any:
    """Read a JSON text of a shape.

    Raises:
        Undecodable: If it is no JSON, is nested too deeply, has a field twice or has another shape.
    """
    try:
        record = _parse(content.decode())
        if b"\\u" in content:
            json.dumps(record, ensure_ascii=False).encode()  # half a character can't be written again
        shape(record)
    except Mismatch as mismatch:
        raise Undecodable(f"is of another shape: {mismatch}") from None
    except RecursionError:
        raise Undecodable("is nested too deeply for a record") from None
    except Undecodable:
        raise
    except ValueError as problem:
        raise Undecodable(f"is not JSON ({problem})") from None
    return record


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to be filled, which takes the place of `folder` (and of all that it held) at the end.

    If the `with` raises, `folder` is as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", suffix=".draft", dir=folder.parent))
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
        _sync_folder(folder.parent)
    except OSError as error:
        if error.filename:
            raise
        raise naming(error, folder) from error
    finally:
        if old.is_dir() and not folder.is_dir():
            old.rename(folder)
        shutil.rmtree(home, ignore_errors=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its fields; names are shared between the records of a long file."""
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Undecodable(f"has the field {twice[:40]!r} twice")
    return record


def _refuse_constant(constant: str) -> NoReturn:
    raise Undecodable(f"holds {constant}, which JSON has no word for")


def _parse(text: str) -> Any:
    try:
        record, end = _SCAN(text, 0)
    except StopIteration:
        return _DECODER.decode(text)  # says where no value begins
    return _DECODER.decode(text) if text[end:].strip() else record  # says what is too much


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
_SCAN: Callable[[str, int], tuple[Any, int]] = vars(_DECODER)["scan_once"]


def _sync_folder(folder: Path) -> None:
    """Let the folder's new entry survive a power cut; not every file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
