"""Local files: JSON lines (plain or gzip), Parquet, CSV."""

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pyarrow import ArrowException, RecordBatch, parquet

from mva.checks import FILLED, Place, check
from mva.data.sources.base import BadRow, DataUnavailable, Row, printable

csv.field_size_limit(2**24)  # the default refuses cells of more than 131,072 characters

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".csv")


@dataclass(frozen=True)
class LocalFiles:
    """All rows of `paths` (one or several), in their order; the name's ending says the form."""

    paths: Annotated[Sequence[Place], FILLED] | Place

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield each file's rows; lines are counted from 1.

        Raises:
            DataUnavailable: If a file is missing, can't be opened, is damaged, or has another ending.
        """
        for name in [self.paths] if isinstance(self.paths, str) else self.paths:
            path = _existing(name)
            if not path.name.endswith(SUFFIXES):
                raise DataUnavailable(f"{path} is none of {', '.join(SUFFIXES)}: convert it to one of these.")
            try:
                yield from _rows(path)
            except DataUnavailable:
                raise
            except OSError as error:
                raise DataUnavailable(f"{path} can't be read ({error.strerror or error}).") from error


def _existing(name: str) -> Path:
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError):  # a name longer than the file system takes, the home of an unknown user
        pass
    raise DataUnavailable(f"There is no file {printable(name)}: check the paths of the data.")


def _rows(path: Path) -> Iterator[Row | BadRow]:
    if path.name.endswith(".parquet"):
        return _parquet_rows(path)
    if path.name.endswith(".csv"):
        return _csv_rows(path)
    return _json_rows(path)


def json_lines(lines: Iterable[bytes], name: str) -> Iterator[Row | BadRow]:
    """Yield one row a line; empty lines are passed over."""
    for number, line in enumerate(lines, start=1):
        origin = f"{name}:{number}"
        if not line.strip():
            continue
        try:
            fields = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_object)
        except UnicodeDecodeError as error:
            yield BadRow(origin, f"is not UTF-8 (byte {error.start} of the line): save the file as UTF-8")
        except json.JSONDecodeError as error:
            yield BadRow(origin, f"is not JSON ({error.msg} at character {error.pos})")
        except RecursionError:
            yield BadRow(origin, "is JSON that is nested too deep")
        except ValueError as error:  # a key that stands twice, a number of thousands of digits
            yield BadRow(origin, f"is JSON that can't be read ({error})")
        else:
            yield Row(origin, fields) if isinstance(fields, dict) else BadRow(origin, "is no JSON object")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of its members; a name that stands twice has no clear value."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands twice")
    return members


def _json_rows(path: Path) -> Iterator[Row | BadRow]:
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as lines:
        try:
            yield from json_lines(lines, str(path))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataUnavailable(f"{path} is no whole gzip file ({error}): fetch it again.") from error


def _parquet_rows(path: Path) -> Iterator[Row | BadRow]:
    number = 0
    for batch in _parquet_batches(path):
        for fields in _batch_rows(batch):
            number += 1
            origin = f"{path}:{number}"
            if isinstance(fields, Exception):
                yield BadRow(origin, f"has a cell that can't be read ({fields})")
            else:
                yield Row(origin, fields)


def _parquet_batches(path: Path) -> Iterator[RecordBatch]:
    try:
        file = parquet.ParquetFile(path)
        _check_names(path, file.schema_arrow.names)
        yield from file.iter_batches()
    except DataUnavailable:
        raise
    except (ArrowException, OSError) as error:
        raise DataUnavailable(f"{path} is no whole Parquet file ({error}): fetch it again.") from error


def _batch_rows(batch: RecordBatch) -> Iterator[dict[str, object] | Exception]:
    """Yield each row's fields, or why Python has no value for one of its cells (text that is not UTF-8)."""
    try:
        yield from batch.to_pylist()
    except (ArrowException, ValueError, OverflowError):
        for k in range(batch.num_rows):
            try:
                (fields,) = batch.slice(k, 1).to_pylist()
            except (ArrowException, ValueError, OverflowError) as error:
                yield error
            else:
                yield fields


def _csv_rows(path: Path) -> Iterator[Row | BadRow]:
    # A byte that is not UTF-8 becomes a surrogate, which can't be encoded again: a bad row, not a bad file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        reader = csv.DictReader(lines, restkey="", strict=True)
        _check_header(path, reader)
        while True:
            first = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                yield BadRow(f"{path}:{first}", f"is no CSV row ({error}): check its quotes")
                continue
            if fields is None:
                return
            origin = f"{path}:{reader.line_num}"
            if "" in fields and isinstance(fields[""], list):
                yield BadRow(origin, "has more cells than the header: quote cells that hold commas")
            elif not all(_is_utf8(cell) for cell in fields.values() if cell):
                yield BadRow(origin, "is not UTF-8: save the file as UTF-8")
            else:
                yield Row(origin, fields)


def _check_header(path: Path, reader: "csv.DictReader[str]") -> None:
    try:
        names = reader.fieldnames
    except csv.Error as error:
        raise DataUnavailable(f"{path}: the header is no CSV row ({error}).") from error
    if names is None:  # an empty file
        return
    if not all(_is_utf8(name) for name in names):
        raise DataUnavailable(f"{path}: the header is not UTF-8: save the file as UTF-8.")
    if not any(names):
        raise DataUnavailable(f"{path}: the first line is empty: it must name the columns.")
    _check_names(path, names)


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse columns of the same name: a row would show the last one only (columns without a name have no reader)."""
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise DataUnavailable(f"{path}: the header names the column '{printable(twice[0])}' twice: rename one of them.")


def _is_utf8(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
