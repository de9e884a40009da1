"""The table of a run's records, the documents and what is written say the same."""

import re
from pathlib import Path

import pytest

from mva.runs.run_folder import write_record
from mva.runs.run_records import RECORDS
from mva.runs.sweep_folder import RECORDS as SWEEP_RECORDS

DOCS = Path(__file__).parents[2] / "docs"
TABLE = (DOCS / "run_folder.md").read_text()
ROWS = {
    name: line
    for line in TABLE.splitlines()
    if line.startswith("|")
    for name in re.findall(r"`(\w+)\.json`", line.split("|")[1])
}
BESIDE = {"evaluations", "summary"}  # of the ledger, and of the local tracker


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_is_documented(name):
    assert [field for field in RECORDS[name].names if f"`{field}`" not in ROWS[name]] == []


@pytest.mark.parametrize("name", SWEEP_RECORDS)
def test_every_field_of_a_sweeps_record_is_documented(name):
    text = (DOCS / "sweeps.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("|") and f"`{name}.json`" in line]
    assert [field for field in SWEEP_RECORDS[name].names if f"`{field}`" not in row] == []


def test_every_documented_record_is_known():
    assert ROWS.keys() == RECORDS.keys() | BESIDE


def test_a_field_that_no_reader_knows_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"^timings\.json has no field 'minutes'"):
        write_record(tmp_path, "timings", {"stages": [], "minutes": 3})
    assert list(tmp_path.iterdir()) == []
