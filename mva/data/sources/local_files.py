"""Local files: JSON lines (plain or gzip), Parquet, CSV."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarrow import ArrowException, parquet

from mva.data.sources.base import BadRow, DataUnavailable, Row

csv.field_size_limit(2**24)  # the default refuses cells of more than 131,072 characters

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".csv")


@dataclass(frozen=True)
class LocalFiles:
    """All rows of `paths` (one or several), in their order; the name's ending says the form."""

    paths: str | Sequence[str]

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield each file's rows; lines are counted from 1.

        Raises:
            DataUnavailable: If a file is missing or has another ending.
        """
        for name in [self.paths] if isinstance(self.paths, str) else self.paths:
            path = Path(name).expanduser()
            if not path.is_file():
                raise DataUnavailable(f"There is no file {path}: check the paths of the data.")
            if not path.name.endswith(SUFFIXES):
                raise DataUnavailable(f"{path} is none of {', '.join(SUFFIXES)}: convert it to one of these.")
            yield from _rows(path)


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
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            for fields in batch.to_pylist():
                number += 1
                yield Row(f"{path}:{number}", fields)
    except (ArrowException, OSError) as error:
        raise DataUnavailable(f"{path} is no whole Parquet file ({error}): fetch it again.") from error


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
        names = list(reader.fieldnames or ())
    except csv.Error as error:
        raise DataUnavailable(f"{path}: the header is no CSV row ({error}).") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataUnavailable(f"{path}: the header names the column '{twice[0]}' twice: rename one of them.")


def _is_utf8(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
