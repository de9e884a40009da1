"""What do more values cost, and what becomes of the vectors and the front?

    python experiments/number_of_values.py run         # about 15 minutes on 2 cores; goes on where it stopped
    python experiments/number_of_values.py summarise

For 2 to 5 values, in the order of VALUES: one run over the box, and with its vectors the largest lattice on the simplex
that takes no more evaluations. Later numbers find the vectors of the earlier ones in the store. Hypervolumes of one
number share rewards, prompts and reference point; of different numbers they don't compare, only their ratios do.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from math import comb
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from mva.estimators.correlation import Correlation
from mva.estimators.hsic import HSIC
from mva.estimators.normalized_hsic import NormalizedHSIC
from mva.models.adapter_files import load_adapter
from mva.models.value_vector import LowRank
from mva.objectives.decorrelation import Decorrelation
from mva.pareto.hypervolume import hypervolume, nadir
from mva.records import SCHEMA_VERSION, write_json
from mva.report.figures import save
from mva.runs.run_folder import RunFiles, read_run
from mva.terminal import Console

VALUES = ("helpful", "harmless", "honest", "brief", "detailed")
NUMBERS = range(2, len(VALUES) + 1)
SOBOL_POINTS = 16  # beside the base and each vector alone
PENALTIES: dict[str, Any] = {"correlation": Correlation(), "hsic": HSIC(), "normalized_hsic": NormalizedHSIC()}


def resolution(n_values: int, evaluations: int) -> int:
    """The finest simplex lattice, with the base, of at most so many candidates; at least the corners (1)."""
    fits = [r for r in range(1, evaluations) if comb(r + n_values - 1, n_values - 1) + 1 <= evaluations]
    return max(fits, default=1)


def run(home: Path, overrides: Sequence[str]) -> None:
    """Run every number of values over the box, then on the simplex, each in a process of its own."""
    for n in NUMBERS:
        box, names = home / f"{n}-box", f"value.names=[{','.join(VALUES[:n])}]"
        _execute("run", box, [names, f"search.n={SOBOL_POINTS}", *overrides])
        steps = resolution(n, len(_scores(read_run(box))))
        _execute(
            "explore",
            home / f"{n}-simplex",
            [names, *overrides, f"run={box}", "search=simplex", f"search.resolution={steps}"],
        )


def _execute(app: str, folder: Path, overrides: Sequence[str]) -> None:
    if (folder / "report.html").exists():
        return
    command = [sys.executable, "-m", f"mva.apps.{app}", "experiment=number_of_values", "tracking=local"]
    subprocess.run([*command, *overrides, f"hydra.run.dir={folder}", "report.forms=[]"], check=True, env=os.environ)


def facts(home: Path, n: int) -> dict[str, Any]:
    """What was found with `n` values; `pairs` and `values` are those of dependence.json and preservation.json."""
    box, simplex = read_run(home / f"{n}-box"), read_run(home / f"{n}-simplex")
    scores = {name: _scores(one) for name, one in (("box", box), ("simplex", simplex))}
    reference = nadir(np.concatenate(list(scores.values())))
    costs = [vector["cost"] for vector in box.training["vectors"].values()]
    return {
        "n_values": n,
        "training": {what: sum(cost[what] for cost in costs) for what in ("pairs", "seconds")},
        "norms": box.dependence["norms"],
        "pairs": box.dependence["pairs"],
        "values": box.preservation,
        "hypervolume": {name: hypervolume(some, reference) for name, some in scores.items()},
        "evaluations": {name: len(some) for name, some in scores.items()},
        "front_points": {
            name: len(one.front.points) for name, one in (("box", box), ("simplex", simplex)) if one.front
        },
        "report_bytes": (box.folder / "report.html").stat().st_size,
    }


def _scores(one: RunFiles) -> np.ndarray:
    """Scores of a run's candidates on validation prompts. Shape: `(candidates, values)`."""
    assert one.front is not None
    lines = [line["scores"] for line in one.candidates if line["split"] == "validation"]
    return np.array([[scores[value] for value in one.front.values] for scores in lines])


def box_by_simplex(row: dict[str, Any]) -> float:
    """The box's hypervolume as a multiple of the simplex's; NaN where that is 0 (a value's scores are all alike)."""
    box, simplex = row["hypervolume"]["box"], row["hypervolume"]["simplex"]
    return box / simplex if simplex > 0 else float("nan")


def penalty_seconds(vectors: Sequence[dict[str, LowRank]], *, repeats: int = 7) -> dict[str, list[float]]:
    """CPU seconds of a penalty, forward and backward, of the last vector against 1, 2, ... others: the fastest."""
    *earlier, last = vectors
    current = {name: _trainable(factor) for name, factor in last.items()}
    found = {}
    for name, estimator in PENALTIES.items():
        decorrelation = Decorrelation(estimator)
        frozen = [decorrelation.freeze(current, earlier[:k]) for k in range(1, len(earlier) + 1)]
        found[name] = [min(_seconds(decorrelation, some, current) for _ in range(repeats)) for some in frozen]
    return found


def _trainable(factor: LowRank) -> LowRank:
    return LowRank(factor.a.clone().requires_grad_(), factor.b.clone().requires_grad_(), factor.scaling)


def _seconds(decorrelation: Decorrelation, frozen: Any, current: dict[str, LowRank]) -> float:
    start = time.process_time()
    penalty, _ = decorrelation.against(frozen, current)
    penalty.backward()
    return time.process_time() - start


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each number of values; dependences are means over pairs."""
    drawn = Table("values", "training (pairs, s)", "dependence", "without penalty", "chance", "norm kept", "own score")
    for name in ("hypervolume box / simplex", "evaluations", "front points"):
        drawn.add_column(name)
    for row in rows:
        pairs, kept = row["pairs"], row["values"].values()
        drawn.add_row(
            str(row["n_values"]),
            f"{row['training']['pairs']}, {row['training']['seconds']:.0f}",
            *(f"{mean(p[what] for p in pairs):.2g}" for what in ("dependence", "independent_training", "chance_mean")),
            f"{mean(v['norm'] / v['norm_independent'] for v in kept):.2f}",
            f"{mean(v['difference'] for v in kept):+.2f}",
            f"{box_by_simplex(row):.2f}",
            *(f"{row[what]['box']} / {row[what]['simplex']}" for what in ("evaluations", "front_points")),
        )
    return drawn


def draw(rows: Sequence[dict[str, Any]], seconds: dict[str, list[float]]) -> Figure:
    """Draw every pair's dependence, every value's price, the hypervolume ratio and the penalty's seconds."""
    figure = Figure(figsize=(15, 3.8), layout="constrained")
    pairs_of, price_of, volume_of, seconds_of = figure.subplots(1, 4)
    numbers = [row["n_values"] for row in rows]
    for shift, (what, marker) in enumerate((("independent_training", "s"), ("dependence", "o"), ("chance_mean", "_"))):
        places = [row["n_values"] + 0.12 * (shift - 1) for row in rows for _ in row["pairs"]]
        pairs_of.plot(places, [p[what] for row in rows for p in row["pairs"]], marker, label=what.replace("_", " "))
    for row in rows:
        for value, v in row["values"].items():
            place, half = row["n_values"] + 0.1 * (VALUES.index(value) - 2), v["high"] - v["difference"]
            price_of.errorbar(place, v["difference"], yerr=half, fmt="o", color=f"C{VALUES.index(value)}", capsize=2)
            price_of.annotate(value, (place, v["difference"]), fontsize=6, rotation=60)
    volume_of.plot(numbers, [box_by_simplex(row) for row in rows], "o-")
    for name, some in seconds.items():
        seconds_of.plot(range(1, len(some) + 1), [1000 * s for s in some], "o-", label=name)
    pairs_of.set(title="dependence of each pair", xlabel="values", yscale="log")
    price_of.set(title="score alone, penalised - independent", xlabel="values")
    volume_of.set(title="hypervolume, box / simplex", xlabel="values")
    seconds_of.set(title="penalty of a step, CPU ms", xlabel="earlier vectors", ylim=(0, None))
    for axes in figure.axes:
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    pairs_of.legend(frameon=False, fontsize=7)
    seconds_of.legend(frameon=False, fontsize=7)
    return figure


def summarise(home: Path) -> None:
    """Write results.json and the figure, and print the tables."""
    rows = [facts(home, n) for n in NUMBERS]
    adapters = home / f"{NUMBERS[-1]}-box" / "adapters"
    seconds = penalty_seconds([dict(load_adapter(adapters / value).factors) for value in VALUES])
    write_json(home / "results.json", {"schema_version": SCHEMA_VERSION, "numbers": rows, "penalty_seconds": seconds})
    save(draw(rows, seconds), home, "number_of_values", forms=())
    console = Console(width=180)
    console.print(table(rows))
    for name, some in seconds.items():
        console.print(f"{name}: " + ", ".join(f"{1000 * s:.1f} ms against {k}" for k, s in enumerate(some, start=1)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["run", "summarise"])
    parser.add_argument("--home", type=Path, default=Path("outputs/number_of_values"))
    parser.add_argument("overrides", nargs="*", help="of the runs, for instance debug=smoke")
    options = parser.parse_intermixed_args()
    if options.step == "run":
        run(options.home, options.overrides)
    summarise(options.home)


if __name__ == "__main__":
    main()
