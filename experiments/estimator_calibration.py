"""Do the estimators measure dependence? A score card on LoRA-shaped vectors, and curves against closed forms.

    python experiments/estimator_calibration.py      # two minutes on 2 cores

Score card: vectors of SmolLM2's shapes (rank 16) whose dependence is known, per module on average over 24 modules.
Curves: Gaussian pairs of correlation rho. Learned bounds stand against `-d/2 log(1 - rho^2)` (d = 4, in nats) and CLUB
against `d rho^2 / (1 - rho^2)`, its value with the true conditional; kernel and distance measures against their
population values for d = 1. Written are calibration.json, score_card.md and calibration.png.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mva.estimators.activations import Activations
from mva.estimators.base import LearnedEstimator
from mva.estimators.club import CLUB
from mva.estimators.correlation import Correlation
from mva.estimators.cross_correlation import CrossCorrelation
from mva.estimators.distance_correlation import DistanceCorrelation
from mva.estimators.hsic import HSIC
from mva.estimators.info_nce import InfoNCE
from mva.estimators.learned import adam, fit
from mva.estimators.mine import MINE
from mva.estimators.normalized_hsic import NormalizedHSIC
from mva.estimators.orthogonal import Orthogonal
from mva.estimators.samples import FactorRows, Update, UpdateRows, dependence
from mva.estimators.subspace_overlap import SubspaceOverlap
from mva.models.value_vector import LowRank
from mva.report.figures import save
from mva.report.style import BLUE, GREY
from mva.terminal import Console

Vector = Mapping[str, LowRank]
RANK, D, MODULES = 16, 576, 24
ESTIMATORS: tuple[Any, ...] = (
    HSIC(), NormalizedHSIC(), DistanceCorrelation(), Correlation(), CrossCorrelation(), Orthogonal(), SubspaceOverlap(),
    CLUB(), CLUB(sampled=True), MINE(), InfoNCE(),
)  # fmt: skip
RHO = (0.0, 0.2, 0.4, 0.6, 0.8)


def lora(seed: int) -> dict[str, LowRank]:
    """Draw a vector as PEFT initialises A, with a small B."""
    generator = torch.Generator().manual_seed(seed)
    a = (2 * torch.rand(MODULES, RANK, D, generator=generator) - 1) / D**0.5
    b = 0.01 * torch.randn(MODULES, D, RANK, generator=generator)
    return {f"layer{i}": LowRank(a[i], b[i], 2.0) for i in range(MODULES)}


def changed(vector: Vector, change: Callable[[LowRank], tuple[Tensor, Tensor]]) -> dict[str, LowRank]:
    """Rewrite every module's factors."""
    return {name: LowRank(*change(update), update.scaling) for name, update in vector.items()}


def cases(x: Vector) -> dict[str, Vector]:
    """Partners of `x` whose dependence on it is known."""
    new, half = lora(2), RANK // 2
    shared = {
        name: LowRank(
            torch.cat([u.a[:half], new[name].a[half:]]), torch.cat([u.b[:, :half], new[name].b[:, half:]], 1), 2.0
        )
        for name, u in x.items()
    }
    mixture = torch.randn(RANK, RANK, generator=torch.Generator().manual_seed(3))
    order = torch.randperm(RANK, generator=torch.Generator().manual_seed(4))
    return {
        "independent": lora(1),
        "half shared": shared,
        "identical": x,
        "half, refactored": changed(shared, lambda u: (mixture @ u.a, u.b @ torch.linalg.inv(mixture))),
        "half, shrunk x 0.1": changed(shared, lambda u: (0.1 * u.a, 0.1 * u.b)),
        "half, rows permuted": changed(shared, lambda u: (u.a[order], u.b[:, order])),
    }


def score_card() -> list[dict[str, Any]]:
    """Measure every case by every estimator with every view that it takes."""
    x = lora(0)
    generator = torch.Generator().manual_seed(5)
    inputs = {name: torch.randn(64, D, generator=generator) for name in x}
    views: list[Any] = [FactorRows("A"), FactorRows("B"), Update(), UpdateRows(), Activations().on(inputs)]
    rows = []
    for estimator in ESTIMATORS:
        for view in (v for v in views if v.name in estimator.views):
            found = {case: float(dependence(estimator, view, x, [y])) / MODULES for case, y in cases(x).items()}
            name = type(estimator).__name__ + (" (sampled)" if getattr(estimator, "sampled", False) else "")
            rows.append({"estimator": name, "view": view.name + getattr(view, "factor", ""), **found})
    return rows


def gaussian_pairs(n: int, d: int, rho: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw n pairs of d coordinates each with correlation rho. Shape: `(1, n, d)` each."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(1, n, d, generator=generator) for _ in range(2))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def hsic_of_gaussians(rho: float, width: float) -> float:
    """Population RBF-HSIC of standard normals with correlation rho; the kernel is `exp(-(x - x')^2 / width)`."""
    s = width / 2
    joint = 1 / math.sqrt((1 + 2 / s) ** 2 - (2 * rho / s) ** 2)
    means = 1 / (1 + 2 / s)
    mixed = s / (s + 1) / math.sqrt((1 + 1 / (s + 1)) ** 2 - (rho / (s + 1)) ** 2)
    return joint + means - 2 * mixed


def distance_correlation_of_gaussians(rho: float) -> float:
    """Population squared distance correlation of a bivariate normal (Szekely, Rizzo and Bakirov, 2007, Theorem 7)."""
    above = rho * math.asin(rho) + math.sqrt(1 - rho**2) - rho * math.asin(rho / 2) - math.sqrt(4 - rho**2) + 1
    return above / (1 + math.pi / 3 - math.sqrt(3))


def curves(repeats: int) -> list[dict[str, Any]]:
    """Estimates on fresh samples beside the truth, for several seeds."""
    rows, d = [], 4
    median = 2 * 0.4549  # of the squared distance of two standard normals: 2 * median of chi^2_1
    for rho in RHO:
        information = -d / 2 * math.log(1 - rho**2)
        truths: dict[Any, float] = {
            CLUB(dimension=d): d * rho**2 / (1 - rho**2),
            MINE(dimension=d): information,
            InfoNCE(dimension=d): information,
            HSIC(): hsic_of_gaussians(rho, 2 + 1e-5),
            DistanceCorrelation(): distance_correlation_of_gaussians(rho),
            NormalizedHSIC(): hsic_of_gaussians(rho, 2 * median) / hsic_of_gaussians(1 - 1e-12, 2 * median),
        }
        for estimator, truth in truths.items():
            found = [_estimate(estimator, rho, d, seed) for seed in range(repeats)]
            rows.append({"estimator": type(estimator).__name__, "rho": rho, "truth": truth, "found": found})
    return rows


def _estimate(estimator: Any, rho: float, d: int, seed: int) -> float:
    if not isinstance(estimator, LearnedEstimator):
        return float(estimator(*gaussian_pairs(1000, 1, rho, seed)))
    critic: Any = estimator.critic(seed)
    fit(critic, adam(critic, 5e-3), [gaussian_pairs(1000, d, rho, seed)], steps=150)
    return float(critic(*gaussian_pairs(2000, d, rho, seed + 1000)))


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Draw each estimator's curve with its truth."""
    names = list(dict.fromkeys(row["estimator"] for row in rows))
    figure = Figure(figsize=(3.4 * 3, 3.0 * 2), layout="constrained")
    for axes, name in zip(figure.subplots(2, 3).flat, names, strict=True):
        mine = [row for row in rows if row["estimator"] == name]
        found = np.array([row["found"] for row in mine])
        axes.plot(RHO, [row["truth"] for row in mine], color=GREY, label="truth")
        axes.errorbar(RHO, found.mean(1), yerr=found.std(1), fmt="o", color=BLUE, capsize=2, label="estimate ± sd")
        axes.set_title(name)
        axes.set_xlabel("correlation")
    figure.axes[0].legend(frameon=False)
    return figure


def markdown(rows: list[dict[str, Any]]) -> str:
    """The score card as a table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("outputs/estimator_calibration"))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    card, rows = score_card(), curves(options.repeats)
    (options.home / "calibration.json").write_text(json.dumps({"score_card": card, "curves": rows}, indent=1))
    (options.home / "score_card.md").write_text(markdown(card))
    save(draw(rows), options.home, "calibration", forms=())
    Console(width=200).print(markdown(card))
    for row in rows:
        found = f"{np.mean(row['found']):.4f} ± {np.std(row['found']):.4f}"
        Console().print(f"{row['estimator']:22} rho {row['rho']:.1f}  truth {row['truth']:.4f}  found {found}")


if __name__ == "__main__":
    main()
