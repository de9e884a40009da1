"""What does each estimator's penalty do to the vectors, to their values and to the front?

    python experiments/estimator_ablation.py run --data bundled --seeds 0   # a seed a process; goes on where it stopped
    python experiments/estimator_ablation.py summarise --data bundled

Every seed has one unpenalised arm, and for every estimator a weak and a strong one. Strengths can't be the same number
for all: estimators differ in scale by orders of magnitude. So a strength is set by what the unpenalised vectors would
pay, `strength * sum_m max(0, D_m) = price`, in nats beside a preference loss that starts at log 2 = 0.69: 0.1 is weak,
1 is strong.

The dependence of all vectors is measured by all estimators, whichever was trained with. Arms of one seed share model,
data, rewards, prompts and the first vector; hypervolumes share a reference point; ratios to the unpenalised arm are
paired by seed, with Student's t intervals. One arm alone, with its report: `mva experiment=estimator_ablation ...`.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from rich.table import Table

from mva.apps import assemble
from mva.apps.command import conf_folder
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
from mva.evaluation.base import CandidateEvaluator
from mva.evaluation.ledger import Ledger
from mva.experiment import Session, open_session
from mva.models.value_vector import ValueVector
from mva.objectives.decorrelation import Decorrelation
from mva.pareto.hypervolume import hypervolume
from mva.pipeline import make_evaluator, make_rewards, train_vectors
from mva.report.figures import save
from mva.report.style import BLUE, GREY
from mva.seeding import seed_everything
from mva.stages import Stages
from mva.statistics.estimate import interval as statistics_interval
from mva.statistics.estimate import mean_estimate
from mva.terminal import Console

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
    "hh": ["data=hh", "data.max_train_pairs=300", "data.limits.response=64"],
}
FIRST, SECOND = VALUES = ("helpful", "harmless")
Vectors = Sequence[ValueVector]


@dataclass(frozen=True)
class Laboratory:
    """What the arms of one seed share."""

    session: Session
    folder: Path

    def train(self, estimator: str, strength: float) -> Vectors:
        """Train both vectors, the second with a penalty; what was trained before is found in the store."""
        measure = ESTIMATORS.get(estimator, Correlation())  # with strength 0 it is never asked
        experiment = replace(self.session.experiment, decorrelation=Decorrelation(measure, strength=strength))
        return train_vectors(replace(self.session, experiment=experiment), log=lambda _metrics, _step: None)

    @cached_property
    def plain(self) -> Vectors:
        """The vectors without a penalty."""
        return self.train("none", 0.0)

    def evaluator(self, vectors: Vectors) -> CandidateEvaluator:
        """Score combinations of these vectors."""
        return make_evaluator(self.session, vectors, self._rewards, self._ledger, split="validation")

    def score(self, vectors: Vectors) -> dict[str, dict[str, float]]:
        """Scores of the listed candidates, by id. Those without the second vector are the unpenalised arm's."""
        e, own, plain = self.session.experiment, self.evaluator(vectors), self.evaluator(self.plain)
        candidates = e.search.start(e.space, seed=e.seed).ask()
        scored = own([c for c in candidates if c.coefficients[SECOND]])
        alike = plain([c for c in candidates if not c.coefficients[SECOND]])
        return {one.candidate.id: dict(one.scores) for one in (*scored, *alike)}

    def own_score_difference(self, vectors: Vectors) -> float:
        """How much more the second vector alone gives its own value than without a penalty, on average over prompts."""
        alone = self.session.experiment.space.alone(SECOND)
        ours, plain = (np.mean(self.evaluator(v).rewards_of(alone, SECOND)) for v in (vectors, self.plain))
        return float(ours - plain)

    @cached_property
    def _rewards(self) -> dict[str, Any]:
        return make_rewards(self.session, [])

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self.folder)


def open_laboratory(folder: Path, seed: int, overrides: Sequence[str]) -> Laboratory:
    """Compose the configuration, load model and data."""
    words = ["experiment=estimator_ablation", f"seed={seed}", *overrides]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        experiment = assemble.experiment(compose("config", words))
    seed_everything(seed)
    folder.mkdir(parents=True, exist_ok=True)
    data, _ = experiment.data.load(experiment.values)
    return Laboratory(open_session(experiment, experiment.model.load(), data, Stages(folder)), folder)


def strength_of(estimator: str, price: float, plain: Vectors) -> float:
    """The strength at which the unpenalised vectors would pay `price` nats."""
    chosen = ESTIMATORS[estimator]
    first, second = (vector.factors for vector in plain)
    found = per_module(chosen, chosen.default_view, second, [first])
    return price / max(1e-6, sum(max(0.0, float(value)) for value in found.values()))


def measured(vectors: Vectors) -> dict[str, float]:
    """Dependence of two vectors by every estimator, summed over modules."""
    first, second = (vector.factors for vector in vectors)
    return {name: float(dependence(e, e.default_view, second, [first])) for name, e in ESTIMATORS.items()}


def run(folder: Path, seed: int, estimators: Sequence[str], prices: Sequence[str], overrides: Sequence[str]) -> None:
    """Run the arms of a seed that arms.jsonl does not hold yet; each is a line of that file."""
    path, laboratory = folder / "arms.jsonl", open_laboratory(folder, seed, overrides)
    known = {(row["estimator"], row["price"]) for row in rows_of(path)}
    arms = [("none", "none"), *((e, price) for price in prices for e in estimators)]
    for estimator, price in arms:
        if (estimator, price) in known:
            continue
        strength = strength_of(estimator, PRICES[price], laboratory.plain) if price in PRICES else 0.0
        vectors = laboratory.train(estimator, strength)
        row = {
            "seed": seed,
            "estimator": estimator,
            "price": price,
            "strength": strength,
            "norms": {vector.value: vector.norm() for vector in vectors},
            "dependence": measured(vectors),
            "scores": laboratory.score(vectors),
            "score_difference": laboratory.own_score_difference(vectors),
        }
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        Console().print(f"seed {seed}: {estimator}, {price}, strength {strength:.4g}")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The arms that have run."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def interval(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % interval (Student's t); no width for a single number."""
    if len(numbers) < 2:
        return float(np.mean(numbers)), float("nan")
    bounds = statistics_interval([mean_estimate(np.array(numbers))])
    return bounds.estimate, bounds.high - bounds.estimate


def facts(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What each arm of a seed found; hypervolumes share the worst scores of all of its arms as reference point."""
    scores = [np.array([[one[value] for value in VALUES] for one in row["scores"].values()]) for row in rows]
    reference = np.concatenate(scores).min(axis=0)
    volumes = [hypervolume(one, reference) for one in scores]
    plain = next(number for number, row in enumerate(rows) if row["price"] == "none")
    for row, volume in zip(rows, volumes, strict=True):
        yield {
            **row,
            "hypervolume": volume,
            "hypervolume_ratio": volume / volumes[plain],
            "norm_kept": row["norms"][SECOND] / rows[plain]["norms"][SECOND],
        }


def summarise(home: Path, seeds: Sequence[int]) -> None:
    """Write results.json and the figure, and print the table."""
    found = [rows_of(home / f"seed{seed}" / "arms.jsonl") for seed in seeds]
    rows = [row for one in found if one for row in facts(one)]
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
                intervals = [interval(column) for column in columns]
                lines.append((estimator, price, intervals))
                shown = [f"{mean:.3g} ± {half:.2g}" for mean, half in intervals]
                table.add_row(estimator, price, str(len(group)), *shown)
    Console(width=200).print(table)
    save(draw(lines), home, "estimator_ablation", forms=())


def draw(lines: Sequence[tuple[str, str, list[tuple[float, float]]]]) -> Figure:
    """Draw hypervolume ratio, norm and own score of every arm, with intervals over seeds."""
    figure = Figure(figsize=(12, 0.34 * len(lines) + 1.4), layout="constrained")
    titles = ("hypervolume / unpenalised", "norm kept", "own score against unpenalised", "cosine / unpenalised")
    for axes, title, column in zip(figure.subplots(1, 4, sharey=True), titles, range(4), strict=True):
        for place, (_, price, found) in enumerate(lines):
            mean, half = found[column]
            axes.errorbar(mean, -place, xerr=half, fmt="o" if price == "strong" else "s", color=BLUE, capsize=2)
        axes.axvline(0 if column == 2 else 1, color=GREY, linewidth=1)
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
    parser.add_argument("--prices", nargs="+", choices=list(PRICES), default=["strong", "weak"])
    parser.add_argument("--home", type=Path, default=Path("outputs/estimator_ablation"))
    parser.add_argument("overrides", nargs="*", help="further words for the configuration: model.dtype=bfloat16")
    options = parser.parse_intermixed_args()
    home = options.home / options.data
    for seed in options.seeds if options.step == "run" else ():
        torch.manual_seed(seed)
        words = [*DATA[options.data], *options.overrides]
        run(home / f"seed{seed}", seed, options.estimators, options.prices, words)
    summarise(home, options.seeds)


if __name__ == "__main__":
    main()
