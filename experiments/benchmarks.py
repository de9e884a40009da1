"""Measure the benchmarks, each as a ratio from one run, and hold them against their bounds.

    make benchmark                        all: docs/performance.md's table and outputs/benchmarks.json
    make benchmark ARGS="-k trl"          a part, whose rows are replaced

Words are pytest's. Tests of tests/benchmarks give what they measured to the fixture `record`, under a key of
`BENCHMARKS`; it is written down when the test ends. The exit status is 1 if a test fails or a bound does not hold.
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from mva.records import SCHEMA_VERSION, read_json, write_json, write_text
from mva.shapes import anything, fields, named

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "performance.md"
RECORD = ROOT / "outputs" / "benchmarks.json"
BEGIN, END = "<!-- measured by experiments/benchmarks.py -->", "<!-- end -->"
HEAD = "| benchmark | against | measured | bound | verdict | how | where, when |"
UNMEASURED = "not measured"
PROPERTY = "benchmark"
"""What pytest's reports carry a record under."""


@dataclass(frozen=True)
class Benchmark:
    """What is measured against what, and the bound: a ratio that is at least or at most so large, as times or share."""

    name: str
    against: str
    side: Literal["at least", "at most"]
    bound: float
    share: bool = False

    def holds(self, ratio: float) -> bool:
        """Say whether a measured ratio keeps the bound."""
        return ratio >= self.bound if self.side == "at least" else ratio <= self.bound

    def shown(self, ratio: float) -> str:
        """Write a ratio, with its unit."""
        return f"{100 * ratio:.2g} %" if self.share else f"{ratio:.3g} x"


BENCHMARKS: Mapping[str, Benchmark] = {
    "trl_step": Benchmark("DPO step on HH, float32", "TRL, defaults", "at least", 5),
    "trl_references": Benchmark("the same step, references included", "TRL, references precomputed", "at least", 4),
    "trl_memory": Benchmark("peak memory of the same", "TRL, defaults", "at most", 0.3),
    "flops_float32": Benchmark(
        "useful FLOPs of a step, float32", "this machine's matrix product", "at least", 0.6, share=True
    ),
    "bfloat16": Benchmark("speed of a step in bfloat16", "the step in float32", "at least", 2),
    "padding": Benchmark(
        "padding in training, references, features (the worst)", "what is computed", "at most", 0.05, share=True
    ),
    "layout": Benchmark("speed of a step's packed row", "two padded rows a pair", "at least", 1.5),
    "micro_batches": Benchmark("time of 16 pairs in micro-batches", "all in one row", "at most", 1.05),
    "sweep": Benchmark(
        "training of five penalty strengths x 2 values in a sweep", "five runs of their own", "at least", 1.6
    ),
    "second_job": Benchmark(
        "start to first training step, of a second job on the same data", "the first job", "at least", 5
    ),
    "penalty": Benchmark("penalty in a step, 1, 2, 4 earlier vectors", "the step without", "at most", 0.05, share=True),
    "learned_penalty": Benchmark(
        "penalty of a learned estimator, its critic's training included, 1, 2, 4 earlier vectors",
        "the step without",
        "at most",
        0.05,
        share=True,
    ),
    "penalty_7b": Benchmark(
        "penalty at 7B shapes, r 64", "products of a 7B step of 2,048 tokens", "at most", 0.05, share=True
    ),
    "candidates": Benchmark("16 candidates in one batch, speed", "one after the other", "at least", 3),
    "explore_batch": Benchmark("exploring, scoring included, speed", "a merge per candidate", "at least", 2),
    "explore_single": Benchmark("the same", "a merge per candidate, one prompt at a time", "at least", 7),
    "explore_bfloat16": Benchmark("speed of exploring in bfloat16", "exploring in float32", "at least", 3),
    "unequal": Benchmark("speed with responses of unequal length", "batches that end together", "at least", 2),
    "sampled": Benchmark("time of sampled responses, vocabulary 128k", "greedy ones", "at most", 1.1),
    "many_vectors": Benchmark("time of candidates of ten vectors", "those of two", "at most", 1.5),
    "late_candidates": Benchmark("time of the last fifth of 5,000 candidates", "the first fifth", "at most", 1.5),
    "ray_two": Benchmark("speed of 2 Ray workers of one thread", "one of one thread", "at least", 1.8),
    "ray_eight": Benchmark("speed of 8 Ray workers with an engine of a fixed rate", "one such", "at least", 7.6),
    "driver": Benchmark(
        "time of the process that asks Ray, at 1,000 responses a second", "one core", "at most", 0.2, share=True
    ),
    "ledger": Benchmark("a response in the ledger: appended, settled, read again", "1 ms", "at most", 1),
    "large_front": Benchmark("search and front of 10,000 candidates x 5 values", "5 s", "at most", 1),
    "scaling_time": Benchmark("time of three sizes", "the formulas of docs/scaling.md", "at most", 1.25),
    "scaling_memory": Benchmark("peak memory of three sizes", "the formulas of docs/scaling.md", "at most", 1.25),
}


def machine() -> str:
    """Name this machine's processor, what of it decides the speed, and torch."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    flags = set(processor.get("flags", "").split())
    able = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    name = processor.get("model name", platform.machine()).strip()
    return f"{name}, {os.cpu_count()} cores, {' '.join(able) or 'no AVX-512'}, torch {torch.__version__.split('+')[0]}"


def recorded(key: str, ratio: float, details: str) -> dict[str, Any]:
    """Make the record of what was measured here and now.

    Raises:
        KeyError: If `BENCHMARKS` has no such benchmark.
    """
    benchmark = BENCHMARKS[key]
    return {
        "name": benchmark.name,
        "against": benchmark.against,
        "ratio": ratio,
        "bound": f"{benchmark.side} {benchmark.shown(benchmark.bound)}",
        "holds": benchmark.holds(ratio),
        "machine": machine(),
        "date": date.today().isoformat(),
        "details": details,
    }


def row(key: str, record: Mapping[str, Any]) -> str:
    """Write a record as a row of the table; a bound that does not hold stands out."""
    cells = [
        record["name"],
        record["against"],
        BENCHMARKS[key].shown(record["ratio"]),
        record["bound"],
        "holds" if record["holds"] else "**does not hold**",
        record["details"],
        f"{record['machine']}, {record['date']}",
    ]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def unmeasured(benchmark: Benchmark) -> str:
    """Write the row of a benchmark that was measured nowhere yet."""
    bound = f"{benchmark.side} {benchmark.shown(benchmark.bound)}"
    return f"| {benchmark.name} | {benchmark.against} | {UNMEASURED} | {bound} | - | - | - |"


def rows_of(page: str) -> dict[str, str]:
    """Read the rows of a page's table, by the name of the benchmark."""
    table = page.partition(BEGIN)[2].partition(END)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and line != HEAD]
    return {line.split("|")[1].strip(): line for line in rows}


def with_rows(page: str, records: Mapping[str, Mapping[str, Any]]) -> str:
    """Put the records, by key, in place of their rows; other benchmarks' rows stay, in the order of `BENCHMARKS`.

    Raises:
        ValueError: If the page has no place for the table.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page has no place for the table: write {BEGIN} and {END} where it belongs.")
    rows = {**rows_of(page), **{BENCHMARKS[key].name: row(key, record) for key, record in records.items()}}
    lines = [rows.get(benchmark.name, unmeasured(benchmark)) for benchmark in BENCHMARKS.values()]
    table = "\n".join([HEAD, "|---" * (HEAD.count("|") - 1) + "|", *lines])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def write(records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write records, by key, into outputs/benchmarks.json and docs/performance.md, in place of their predecessors."""
    shape = fields({"benchmarks": named(anything)})
    earlier = read_json(RECORD, shape, mend="delete it")["benchmarks"] if RECORD.exists() else {}
    both = {**earlier, **records}
    ordered = {key: both[key] for key in BENCHMARKS if key in both}
    write_json(RECORD, {"schema_version": SCHEMA_VERSION, "benchmarks": ordered})
    write_text(DOCS, with_rows(DOCS.read_text(), records))


class Writer:
    """A plug-in of pytest that writes each record when its test has ended."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write what the test recorded, also where it failed afterwards."""
        records: dict[str, Any] = {}
        for name, content in report.user_properties:
            if name == PROPERTY and isinstance(content, tuple):
                records[content[0]] = content[1]
        if report.when == "call" and records:
            write(records)
            self.broken += [row(key, record) for key, record in records.items() if not record["holds"]]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the bounds that do not hold."""
        for line in self.broken:
            terminalreporter.write_line(line, red=True)


def main(words: Sequence[str]) -> int:
    """Run the benchmarks that pytest's words choose; return the exit status."""
    writer = Writer()
    status = pytest.main([str(ROOT / "tests" / "benchmarks"), "-s", *words], plugins=[writer])
    return int(status) or int(bool(writer.broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
