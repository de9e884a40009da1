"""The table of benchmarks: how rows are made and replaced, and that page, tests and bounds speak of the same ones."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import benchmarks
import pytest
from benchmarks import BEGIN, BENCHMARKS, DOCS, END, UNMEASURED, recorded, rows_of, with_rows

TESTS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def page(tmp_path, monkeypatch):
    docs = tmp_path / "performance.md"
    docs.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    monkeypatch.setattr(benchmarks, "DOCS", docs)
    monkeypatch.setattr(benchmarks, "RECORD", tmp_path / "benchmarks.json")
    return docs


def report(*records):
    return SimpleNamespace(when="call", user_properties=[(benchmarks.PROPERTY, record) for record in records])


def test_a_part_replaces_its_rows_alone_in_page_and_record(page):
    writer = benchmarks.Writer()
    writer.pytest_runtest_logreport(report(("sweep", recorded("sweep", 1.7, "first"))))
    writer.pytest_runtest_logreport(report(("trl_step", recorded("trl_step", 4.9, "a | b"))))
    sweep = rows_of(page.read_text())[BENCHMARKS["sweep"].name]
    writer.pytest_runtest_logreport(report(("trl_step", recorded("trl_step", 5.0, "again"))))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    rows = rows_of(text)
    assert list(rows) == [benchmark.name for benchmark in BENCHMARKS.values()]
    assert rows[BENCHMARKS["sweep"].name] == sweep
    assert [name for name, line in rows.items() if UNMEASURED not in line] == [
        BENCHMARKS[key].name for key in ("trl_step", "sweep")
    ]
    assert "a / b" not in text
    record = json.loads(benchmarks.RECORD.read_text())["benchmarks"]
    assert [(key, entry["ratio"], entry["holds"]) for key, entry in record.items()] == [
        ("trl_step", 5.0, True),
        ("sweep", 1.7, True),
    ]


def test_a_bound_that_does_not_hold_stands_out_and_ends_the_command_with_1(page, monkeypatch):
    made = recorded("padding", 0.051, "")
    assert not made["holds"]

    def measure(_words, plugins):
        plugins[0].pytest_runtest_logreport(report(("padding", made)))
        return 0

    monkeypatch.setattr(benchmarks.pytest, "main", measure)
    assert benchmarks.main([]) == 1
    assert "| 5.1 % | at most 5 % | **does not hold** |" in page.read_text()


def test_a_page_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="no place for the table"):
        with_rows("text", {})


def test_every_benchmark_is_recorded_by_a_test_and_has_a_true_row():
    sources = "".join(path.read_text() for path in TESTS.glob("test_*.py"))
    assert [key for key in BENCHMARKS if f'"{key}"' not in sources] == []
    assert [key for key in re.findall(r'record\(\s*"(\w+)"', sources) if key not in BENCHMARKS] == []
    rows = rows_of(DOCS.read_text())
    assert list(rows) == [benchmark.name for benchmark in BENCHMARKS.values()]
    for benchmark in BENCHMARKS.values():
        _, against, measured, bound, verdict, *_ = (cell.strip() for cell in rows[benchmark.name].split("|")[1:-1])
        assert against == benchmark.against
        assert bound == f"{benchmark.side} {benchmark.shown(benchmark.bound)}"
        if measured == UNMEASURED:
            continue
        number = float(re.match(r"[\d.e+]+", measured)[0]) / (100 if benchmark.share else 1)
        assert benchmark.shown(number) == measured
        # A measured number that was rounded onto its bound may lie on either side of it.
        assert number == benchmark.bound or (verdict.strip("*") == "holds") == benchmark.holds(number)
