"""What a disk refuses, in one sentence: no space, no permission, a file where a folder belongs."""

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
# safetensors passes the system's words on; torch's writer says that its file is shorter than what it wrote.
_FULL_IN_OTHER_WORDS = ("No space left on device", "inline_container.cc", "Disk quota exceeded", "File too large")
_NO_FOLDER = {errno.EEXIST, errno.ENOTDIR}
_UNITS = ("B", "kB", "MB", "GB", "TB")
CACHE_MEND = "choose another folder with paths.cache=FOLDER or MVA_CACHE=FOLDER"


class DiskTrouble(OSError):
    """A folder that can't take what has to be written."""


def size_text(n_bytes: float) -> str:
    """Write a size with three digits and its unit (powers of 1000)."""
    for unit in _UNITS[:-1]:
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} {_UNITS[-1]}"


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Count what tensors take on disk."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def require_space(folder: Path, n_bytes: int, *, what: str, mend: str = CACHE_MEND) -> None:
    """Check before a big write that the file system of `folder`, which need not exist yet, has `n_bytes` free.

    Raises:
        DiskTrouble: If it has not; the sentence says how much is needed, how much is free, and where.
    """
    existing = next((parent for parent in (folder, *folder.absolute().parents) if parent.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    if free < n_bytes:
        raise DiskTrouble(
            f"{what} needs {size_text(n_bytes)} in {folder}, where {size_text(free)} are free: make room (mva-cache "
            f"lists what the cache holds and removes it), or {mend}."
        )


@contextmanager
def explained(folder: Path, *, what: str, mend: str = CACHE_MEND) -> Iterator[None]:
    """Turn the system's refusal to write `what` into `folder` into one sentence.

    Raises:
        DiskTrouble: If the disk is full, `folder` is not writable, or a file is in the way.
    """
    try:
        yield
    except DiskTrouble:
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        if (sentence := _sentence(folder, error, what, mend)) is None:
            raise
        raise DiskTrouble(sentence) from error


def not_writable(error: OSError) -> bool:
    """Say whether the error means that the place can be read, but not written."""
    return error.errno in _READ_ONLY


def _sentence(folder: Path, error: Exception, what: str, mend: str) -> str | None:
    number = error.errno if isinstance(error, OSError) else None
    where = getattr(error, "filename", None) or folder
    if number in _FULL or any(words in str(error) for words in _FULL_IN_OTHER_WORDS):
        free = size_text(shutil.disk_usage(folder).free) if folder.exists() else "none"
        return (
            f"No space left for {what} in {folder} ({free} free): make room (mva-cache lists what the cache holds and "
            f"removes it), or {mend}."
        )
    if isinstance(error, OSError) and number in _READ_ONLY:
        return f"{where} can't be written ({error.strerror}), and {what} has to be: allow it, or {mend}."
    if isinstance(error, OSError) and number in _NO_FOLDER:
        where = next((parent for parent in (Path(where), *Path(where).parents) if parent.exists()), where)
        return f"{where} is in the way of {what} ({error.strerror}): remove it, or {mend}."
    return None
