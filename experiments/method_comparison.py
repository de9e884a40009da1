"""Which method hands over the best front? Indicators with intervals, and which differences are real.

    mva -m experiment=method_comparison method=mva,ties seed=0,1,2 hydra.sweep.dir=outputs/method_comparison
    python experiments/method_comparison.py outputs/method_comparison --first method=mva

Jobs that differ in their seed alone are one method. Written into the folder: comparison.json and comparison.png.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from mva.analysis.comparison import Comparison, compare
from mva.report.comparison import comparison_table, draw_comparison
from mva.report.figures import save
from mva.runs.run_folder import RunFiles
from mva.runs.sweep_folder import read_sweep
from mva.statistics.estimate import Interval
from mva.terminal import Console


def methods(folder: Path, first: str | None) -> dict[str, list[RunFiles]]:
    """Group a sweep's finished jobs by what they differ in beside the seed; `first` is put before the others."""
    groups: dict[str, list[RunFiles]] = defaultdict(list)
    for job in read_sweep(folder):
        if job.run is not None:
            words = [word for word in job.label.split(", ") if not word.startswith("seed=")]
            groups[", ".join(words) or "all"].append(job.run)
    return dict(sorted(groups.items(), key=lambda item: item[0] != first))


def record(comparison: Comparison) -> list[dict[str, object]]:
    """The comparison as plain data."""
    return [
        {
            "method": row.label,
            "seeds": row.n_seeds,
            "prompts": comparison.n_prompts,
            "training": {"pairs": row.pairs, "seconds": row.seconds},
            "indicators": {name: _numbers(measured) for name, measured in row.indicators.items()},
            "against_first": {
                name: [d.interval.estimate, d.interval.low, d.interval.high, str(d.verdict), str(d.simultaneous)]
                for name, d in (row.differences or {}).items()
            },
        }
        for row in comparison.rows
    ]


def _numbers(measured: Interval | float) -> list[float]:
    """Estimate, low and high; the number alone where no interval of it is valid."""
    return [measured.estimate, measured.low, measured.high] if isinstance(measured, Interval) else [measured]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a multirun's folder")
    parser.add_argument("--first", help="the method that the others are held against, as in the table")
    options = parser.parse_args()
    comparison = compare(methods(options.folder, options.first))
    (options.folder / "comparison.json").write_text(json.dumps(record(comparison), indent=1))
    save(draw_comparison(comparison), options.folder, "comparison", forms=())
    Console(width=220).print(comparison_table(comparison))


if __name__ == "__main__":
    main()
