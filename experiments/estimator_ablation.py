"""What does each estimator's penalty do to the vectors, to their values and to the front?

    python experiments/estimator_ablation.py run --data bundled      # hours on 2 cores; goes on where it stopped
    python experiments/estimator_ablation.py summarise --data bundled

Every seed has one unpenalised arm, and for every estimator a weak and a strong one. Strengths can't be the same number
for all: estimators differ in scale by orders of magnitude. So a strength is set by what the unpenalised vectors would
pay, `strength * sum_m max(0, D_m) = price`, in nats beside a preference loss that starts at log 2 = 0.69: 0.1 is weak,
1 is strong.

The dependence of all vectors is measured by all estimators, whichever was trained with. Hypervolumes of one seed share
rewards, prompts and reference point; ratios to the unpenalised arm are paired by seed, with Student's t intervals.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student_t

from mva.estimators.club import CLUB
from mva.estimators.correlation import Correlation
from mva.estimators.cross_correlation import CrossCorrelation
from mva.estimators.distance_correlation import DistanceCorrelation
from mva.estimators.hsic import HSIC
from mva.estimators.info_nce import InfoNCE
from mva.estimators.mine import MINE
from mva.estimators.normalized_hsic import NormalizedHSIC
from mva.estimators.orthogonal import Orthogonal
from mva.estimators.samples import dependence, per_module
from mva.estimators.subspace_overlap import SubspaceOverlap
from mva.models.adapter_files import load_adapter
from mva.pareto.hypervolume import hypervolume
from mva.report.figures import save

ESTIMATORS: dict[str, Any] = {
    "hsic": HSIC(),
    "normalized_hsic": NormalizedHSIC(),
    "distance_correlation": DistanceCorrelation(),
    "correlation": Correlation(),
    "cross_correlation": CrossCorrelation(),
    "orthogonal": Orthogonal(),
    "subspace_overlap": SubspaceOverlap(),
    "club": CLUB(),
    "mine": MINE(),
    "info_nce": InfoNCE(),
}
PRICES = {"weak": 0.1, "strong": 1.0}
DATA = {
    "bundled": [],
    "hh": ["data=hh", "data.max_train_pairs=300"],
}
VALUES = ("helpful", "harmless")


@dataclass(frozen=True)
class Arm:
    """One run: an estimator at a price (nats), or none."""

    home: Path
    seed: int
    estimator: str = "none"
    price: str = "none"

    @property
    def folder(self) -> Path:
        """Where it runs."""
        return self.home / f"seed{self.seed}" / f"{self.estimator}-{self.price}"

    @property
    def done(self) -> bool:
        """Whether it has run to its end."""
        return (self.folder / "report.html").exists()

    def scores(self) -> np.ndarray:
        """Scores of its candidates on validation prompts. Shape: `(candidates, values)`."""
        lines = [json.loads(line) for line in (self.folder / "candidates.jsonl").read_text().splitlines()]
        found = {line["id"]: line["scores"] for line in lines if line["split"] == "validation"}
        return np.array([[scores[value] for value in VALUES] for scores in found.values()])

    def vectors(self) -> list[dict[str, Any]]:
        """The factors of its two vectors, in the order of training."""
        return [dict(load_adapter(self.folder / "adapters" / value).factors) for value in VALUES]

    def record(self, name: str) -> Any:
        """One of its JSON records."""
        return json.loads((self.folder / f"{name}.json").read_text())


def strength(estimator: str, unpenalised: Arm) -> float:
    """The strength at which the unpenalised vectors would pay one nat."""
    first, second = unpenalised.vectors()
    chosen = ESTIMATORS[estimator]
    found = per_module(chosen, chosen.default_view, second, [first])
    return 1.0 / max(1e-6, sum(max(0.0, float(value)) for value in found.values()))


def execute(arm: Arm, data: str, penalty: float, threads: int) -> str:
    """Run one arm in a process of its own, unless it is done."""
    if arm.done:
        return "done before"
    command = [sys.executable, "-m", "mva.apps.run", "experiment=estimator_ablation", *DATA[data]]
    command += [f"estimator={arm.estimator}", f"penalty.strength={penalty:.6g}", f"seed={arm.seed}", "tracking=local"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    arm.folder.mkdir(parents=True, exist_ok=True)
    with (arm.folder / "output.log").open("w") as log:
        code = subprocess.run(
            [*command, f"hydra.run.dir={arm.folder}", "report.forms=[]"],
            env=environment,
            stdout=log,
            stderr=log,
            check=False,
        ).returncode
    return "ok" if code == 0 else f"FAILED with {code}, see {arm.folder / 'output.log'}"


def run(home: Path, data: str, seeds: Sequence[int], estimators: Sequence[str], jobs: int) -> None:
    """Run all arms; strong prices first, and all seeds of an estimator together: what is finished can be summarised."""
    console, threads = Console(), max(1, (os.cpu_count() or 1) // jobs)
    bases = [Arm(home, seed) for seed in seeds]
    arms = [Arm(home, seed, e, price) for price in reversed(PRICES) for e in estimators for seed in seeds]
    with ThreadPoolExecutor(jobs) as pool:
        for arm, outcome in zip(bases, pool.map(lambda arm: execute(arm, data, 0.0, threads), bases), strict=True):
            console.print(f"{arm.folder}: {outcome}")

        def penalised(arm: Arm) -> str:
            if arm.done:
                return "done before"
            penalty = PRICES[arm.price] * strength(arm.estimator, Arm(home, arm.seed))
            return f"strength {penalty:.4g}, " + execute(arm, data, penalty, threads)

        for arm, outcome in zip(arms, pool.map(penalised, arms), strict=True):
            console.print(f"{arm.folder}: {outcome}")


def interval(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % interval (Student's t); no width for a single number."""
    n = len(numbers)
    half = float(student_t.ppf(0.975, n - 1) * np.std(numbers, ddof=1) / n**0.5) if n > 1 else float("nan")
    return float(np.mean(numbers)), half


def measured(arm: Arm) -> dict[str, float]:
    """Dependence of the arm's vectors by every estimator, summed over modules."""
    first, second = arm.vectors()
    return {name: float(dependence(e, e.default_view, second, [first])) for name, e in ESTIMATORS.items()}


def facts(home: Path, seed: int) -> Iterator[dict[str, Any]]:
    """What each arm of a seed found; hypervolumes share the worst scores of all of its arms as reference point."""
    everything = [Arm(home, seed), *(Arm(home, seed, e, p) for p in PRICES for e in ESTIMATORS)]
    arms = [arm for arm in everything if arm.done]
    scores = {arm: arm.scores() for arm in arms}
    reference = np.concatenate(list(scores.values())).min(axis=0)
    plain = hypervolume(scores[arms[0]], reference)
    for arm in arms:
        kept = arm.record("preservation")["values"].get("harmless") if arm.price != "none" else None
        norms = arm.record("dependence")["norms"]
        yield {
            "seed": seed,
            "estimator": arm.estimator,
            "price": arm.price,
            "hypervolume": hypervolume(scores[arm], reference),
            "hypervolume_ratio": hypervolume(scores[arm], reference) / plain,
            "norm_kept": kept["norm"] / kept["norm_independent"] if kept else 1.0,
            "norms": norms,
            "score_difference": kept["difference"] if kept else 0.0,
            "dependence": measured(arm),
        }


def summarise(home: Path, seeds: Sequence[int]) -> None:
    """Write results.json and the figure, and print the table."""
    torch.manual_seed(0)
    rows = [row for seed in seeds if Arm(home, seed).done for row in facts(home, seed)]
    (home / "results.json").write_text(json.dumps(rows, indent=1))
    table = Table("estimator", "price", "seeds", "hypervolume / unpenalised", "norm kept", "own score lost or won")
    for name in ("cosine / unpenalised", "overlap of A / unpenalised", "its own dependence, unpenalised", "penalised"):
        table.add_column(name)
    lines = []
    plain = {row["seed"]: row for row in rows if row["estimator"] == "none"}
    for price in reversed(PRICES):
        for estimator in ESTIMATORS:
            group = [row for row in rows if (row["estimator"], row["price"]) == (estimator, price)]
            if group:
                columns = [
                    [row[key] for row in group] for key in ("hypervolume_ratio", "norm_kept", "score_difference")
                ]
                before = [plain[row["seed"]]["dependence"] for row in group]
                after = [row["dependence"] for row in group]
                for measure in ("correlation", "subspace_overlap"):
                    columns.append([a[measure] / b[measure] for a, b in zip(after, before, strict=True)])
                # Unbiased estimates are around 0 before: their ratio says nothing.
                columns += [[one[estimator] for one in before], [one[estimator] for one in after]]
                found = [interval(column) for column in columns]
                lines.append((estimator, price, found))
                table.add_row(estimator, price, str(len(group)), *(f"{mean:.3g} ± {half:.2g}" for mean, half in found))
    Console(width=200).print(table)
    save(draw(lines), home, "estimator_ablation", forms=())


def draw(lines: Sequence[tuple[str, str, list[tuple[float, float]]]]) -> Figure:
    """Draw hypervolume ratio, norm and own score of every arm, with intervals over seeds."""
    figure = Figure(figsize=(12, 0.34 * len(lines) + 1.4), layout="constrained")
    titles = ("hypervolume / unpenalised", "norm kept", "own score against unpenalised", "cosine / unpenalised")
    for axes, title, column in zip(figure.subplots(1, 4, sharey=True), titles, range(4), strict=True):
        for place, (_, price, found) in enumerate(lines):
            mean, half = found[column]
            axes.errorbar(mean, -place, xerr=half, fmt="o" if price == "strong" else "s", color="#0072B2", capsize=2)
        axes.axvline(0 if column == 2 else 1, color="#9a9a9a", linewidth=1)
        axes.set_title(title, fontsize=9)
        axes.set_yticks([-place for place in range(len(lines))], [f"{e} ({p})" for e, p, _ in lines])
    return figure


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["run", "summarise"])
    parser.add_argument("--data", choices=list(DATA), default="bundled")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--estimators", nargs="+", choices=list(ESTIMATORS), default=list(ESTIMATORS))
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    parser.add_argument("--home", type=Path, default=Path("outputs/estimator_ablation"))
    options = parser.parse_args()
    home = options.home / options.data
    if options.step == "run":
        run(home, options.data, options.seeds, options.estimators, options.jobs)
    summarise(home, options.seeds)


if __name__ == "__main__":
    main()
