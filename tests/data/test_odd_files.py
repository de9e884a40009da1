"""Files with odd contents: each is rows, bad rows with their place, or one clear sentence; never a traceback."""

import pyarrow
import pytest
from pyarrow import parquet

from mva.checks import BadSetting
from mva.data.formats import PairColumns
from mva.data.loading import ValueSource, read_pairs
from mva.data.sources.base import BadRow, DataUnavailable
from mva.data.sources.local_files import LocalFiles

NAMES = ["prompt", "chosen", "rejected"]


def rows_of(path):
    return list(LocalFiles(str(path)).rows())


def strings(*contents):
    """Make an Arrow column of strings out of bytes, which Arrow does not check."""
    ends = [sum(map(len, contents[:k])) for k in range(len(contents) + 1)]
    offsets = b"".join(end.to_bytes(4, "little") for end in ends)
    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"".join(contents))]
    return pyarrow.Array.from_buffers(pyarrow.string(), len(contents), buffers)


def test_a_parquet_column_that_stands_twice_is_refused(tmp_path):
    columns = [pyarrow.array([text]) for text in ("p", "a", "r", "another answer")]
    parquet.write_table(pyarrow.Table.from_arrays(columns, names=[*NAMES, "chosen"]), tmp_path / "a.parquet")
    with pytest.raises(DataUnavailable, match="names the column 'chosen' twice"):
        rows_of(tmp_path / "a.parquet")


def test_a_parquet_cell_that_is_not_utf8_is_a_bad_row_among_good_ones(tmp_path):
    chosen = strings(b"yes", b"\xff\xfe", "größer".encode())
    table = pyarrow.table({"prompt": ["p", "q", "r"], "chosen": chosen, "rejected": ["no", "no", "no"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    first, bad, last = rows_of(tmp_path / "a.parquet")
    assert (first.fields["chosen"], last.fields["chosen"]) == ("yes", "größer")
    assert (first.origin, last.origin) == (f"{tmp_path}/a.parquet:1", f"{tmp_path}/a.parquet:3")
    assert isinstance(bad, BadRow)
    assert bad.origin == f"{tmp_path}/a.parquet:2"
    assert "can't be read" in bad.problem


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (pyarrow.array([b"yes"]), "expected a list of messages, found bytes"),
        (pyarrow.array([5]), "expected a list of messages, found int"),
        (pyarrow.array([{"role": "assistant"}]), "expected a list of messages, found dict"),
    ],
)
def test_parquet_columns_of_other_types_are_bad_rows(tmp_path, column, problem):
    parquet.write_table(pyarrow.table({"prompt": ["p"], "chosen": column, "rejected": ["no"]}), tmp_path / "a.parquet")
    (row,) = rows_of(tmp_path / "a.parquet")
    with pytest.raises(BadRow, match=problem):
        read_pairs(row, PairColumns())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("prompt,chosen,rejected\np,c,r\n".encode("utf-16"), "the header is not UTF-8: save the file as UTF-8"),
        (b"\n\nprompt,chosen,rejected\np,c,r\n", "the first line is empty: it must name the columns"),
        (b'"prompt,chosen,rejected\np,c,r\n', "the header is no CSV row"),
    ],
)
def test_a_csv_header_that_names_no_columns_is_refused(tmp_path, content, problem):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataUnavailable, match=problem):
        rows_of(tmp_path / "a.csv")


def test_columns_without_a_name_may_stand_twice(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected,,\np,c,r,,\n")
    (row,) = rows_of(tmp_path / "a.csv")
    assert [row.fields[name] for name in NAMES] == ["p", "c", "r"]


@pytest.mark.parametrize("name", ["x" * 5000 + ".jsonl", "~nobody-of-this-name/a.jsonl", "a\0b.jsonl"])
def test_a_name_that_no_file_can_have_is_one_sentence(name):
    with pytest.raises((DataUnavailable, BadSetting), match=r"^(There is no file|paths is) .*: (check|choose) .*\.$"):
        rows_of(name)


def test_a_file_that_can_not_be_opened_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DataUnavailable, match=r"a\.jsonl can't be read \(Permission denied\)\.$"):
        rows_of(path)


@pytest.mark.parametrize("fractions", [(float("nan"), 0.0), (0.1, float("nan")), (-0.1, 0.0), (0.5, 0.5)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(tmp_path, fractions):
    validation, test = fractions
    with pytest.raises(ValueError, match=r"_fraction .*below 1"):
        ValueSource(LocalFiles("a.jsonl"), PairColumns(), validation_fraction=validation, test_fraction=test)
