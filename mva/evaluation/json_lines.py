"""Append-only files of JSON objects: written line by line, read without being touched."""

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from mva.records import BrokenRecord, Undecodable, decode, naming
from mva.shapes import Shape, anything, list_of, named

_BLOCK = 1 << 16
_BATCH = 64
_LONGEST = 1 << 26  # bytes of a line; what claims more would take the memory of who reads it
_ANY_OBJECT = named(anything)


class DamagedLedger(BrokenRecord):
    """A ledger with an unreadable line that is not its last."""


class JsonLines:
    """An append-only file of JSON objects, one a line, each of a `shape`, that a crash can't spoil.

    Reading changes nothing: readers may look at what another process is writing, and at what they may not write. Only
    who appends cuts off a line that a killed run left unfinished.
    """

    def __init__(self, path: Path, shape: Shape = _ANY_OBJECT) -> None:
        self.path = path
        self._shape, self._shapes = shape, list_of(shape)
        self._mended = False

    def append(self, records: Iterable[Mapping[str, object]]) -> None:
        """Add lines; when this returns they are on the disk.

        Raises:
            ValueError: If a record holds NaN or infinity; nothing is written then.
            OSError: If they can't be written; the file is then as it was.
        """
        lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records]
        if not lines:
            return
        if not self._mended:
            self._mend()
            self._mended = True
        with self.path.open("ab") as file:
            size = file.tell()
            try:
                for line in lines:
                    file.write(line.encode())
                    file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                with suppress(OSError):
                    os.truncate(self.path, size)
                self._mended = False
                raise naming(error, self.path) from error

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the lines in their order; an unfinished last line is left out, and a warning says so.

        Raises:
            DamagedLedger: If a line before the last is no JSON object of the expected shape, or the last, finished
                one has another shape.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            lines, first = self._lines(file), 1
            while batch := list(islice(lines, _BATCH)):
                yield from self._decoded(batch, first)
                first += len(batch)

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the finished lines that are there now; what is added from now on is not looked at."""
        left = os.fstat(file.fileno()).st_size
        for number, line in enumerate(iter(partial(file.readline, _LONGEST), b""), start=1):
            if len(line) == _LONGEST:
                raise DamagedLedger(
                    f"{self.path}:{number} is longer than any line of a run: delete it, or start in a new folder."
                )
            left -= len(line)
            if left <= 0 and not _finished(line):
                self._warn(number)
                return
            yield line
            if left <= 0:
                return

    def _decoded(self, lines: list[bytes], first: int) -> Iterator[dict[str, Any]]:
        """Decode lines that follow each other: together, which is fast, or one by one where something is wrong."""
        if all(line.startswith(b"{") and line.endswith(b"}\n") for line in lines):
            with suppress(Undecodable):
                records: list[dict[str, Any]] = decode(b"[" + b",".join(lines) + b"]", self._shapes)
                if len(records) == len(lines):
                    yield from records
                    return
        for number, line in enumerate(lines, start=first):
            try:
                yield decode(line, self._shape)
            except Undecodable as problem:
                raise DamagedLedger(
                    f"{self.path}:{number} {problem}: delete that line, or start in a new folder."
                ) from None

    def _warn(self, number: int) -> None:
        warnings.warn(
            f"{self.path}:{number} is unfinished: a run is writing it, or was killed. The line is left out; a run that "
            "goes on here makes again what it held.",
            stacklevel=3,
        )

    def _mend(self) -> None:
        """Cut off a last line that a killed run left unfinished; `read` has warned of it."""
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            start, line = _last_line(file)
            if line and not _finished(line):
                file.truncate(start)
                os.fsync(file.fileno())


def _finished(line: bytes) -> bool:
    """Say whether a line was written to its end: after a power cut it may also be a block of zeros."""
    if not line.endswith(b"\n"):
        return False
    try:
        json.loads(line)
    except RecursionError:
        return True  # no crash makes such a line: it is refused when it is read
    except ValueError:
        return False
    return True


def _last_line(file: BinaryIO) -> tuple[int, bytes]:
    """Find the last line: where it starts, and its bytes with the line end."""
    start = size = file.seek(0, os.SEEK_END)
    tail = b""
    while start and tail[:-1].rfind(b"\n") < 0:
        step = min(_BLOCK, start)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
    cut = tail[:-1].rfind(b"\n") + 1
    return size - len(tail) + cut, tail[cut:]
