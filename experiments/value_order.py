"""Does it matter which value is trained first? The first vector is free, only later ones are penalised.

    mva experiment=value_order hydra.sweep.dir=outputs/value_order
    python experiments/value_order.py outputs/value_order

The orders of one seed share rewards, prompts, and the reference point of their hypervolumes, just below all of their
candidates; what differs between orders is paired by seed, with Student's t intervals. With two values a vector is free
in one order and penalised in the other: the difference of its score alone is the price of coming later.
Written into the folder: value_order.json and value_order.png.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from estimator_ablation import interval
from matplotlib.figure import Figure
from rich.table import Table

from mva.analysis.front_view import CORNER
from mva.analysis.sweep_view import JobFront, join
from mva.report.figures import save
from mva.runs.sweep_folder import Job, read_sweep
from mva.terminal import Console

Measures = dict[str, float]
Order = tuple[str, ...]


def measures(one: JobFront) -> Measures:
    """What is compared: hypervolumes, dependence summed over pairs, and of each value its vector's score and norm."""
    run, found = one.job.run, {"hypervolume": one.hypervolume}
    assert run is not None
    if one.hypervolume_held_out is not None:
        found["hypervolume, held out"] = one.hypervolume_held_out
    for pair in run.dependence["pairs"]:
        name = f"dependence ({pair['estimator']})"
        found[name] = found.get(name, 0.0) + pair["dependence"]
    alone = {
        vector: c.scores for c in one.view.candidates if c.kind == CORNER for vector, o in c.coefficients.items() if o
    }
    for value in sorted(one.view.values):
        found[f"{value}: score alone"] = alone[value][value]
        found[f"{value}: norm"] = run.dependence["norms"][value]
    return found


def by_order(folder: Path) -> dict[Order, dict[int, Measures]]:
    """Read a sweep: the measures by order and seed, of the seeds for which every order has finished.

    Raises:
        ValueError: If there are not two orders of the same values for at least one seed.
    """
    seeds: dict[int, list[Job]] = defaultdict(list)
    for job in read_sweep(folder):
        if job.run is not None:
            seeds[job.run.environment["seed"]].append(job)
    found: dict[Order, dict[int, Measures]] = defaultdict(dict)
    for seed, jobs in seeds.items():
        for one in join(jobs).jobs:
            found[one.view.values][seed] = measures(one)
    whole = {seed for seed in seeds if all(seed in of_order for of_order in found.values())}
    if len(found) < 2 or not whole or len({frozenset(order) for order in found}) > 1:
        raise ValueError(f"{folder} needs at least two orders of the same values, finished with the same seed.")
    return {order: {seed: some[seed] for seed in sorted(whole)} for order, some in found.items()}


def differences(first: dict[int, Measures], other: dict[int, Measures]) -> dict[str, tuple[float, float]]:
    """The other order minus the first by measure, paired by seed: mean and half-width of the 95 % interval."""
    names = next(iter(first.values()))
    return {name: interval([other[seed][name] - first[seed][name] for seed in first]) for name in names}


def table(found: dict[Order, dict[int, Measures]]) -> Table:
    """Every measure's mean in every order, and what differs from the first one."""
    (first, *others), n_seeds = found, len(next(iter(found.values())))
    drawn = Table("measure", title=f"Means over {n_seeds} seeds; differences paired by seed, 95 % intervals")
    for order in found:
        drawn.add_column(" > ".join(order), justify="right")
    for order in others:
        drawn.add_column(f"{' > '.join(order)}\nminus the first", justify="right")
    against = [differences(found[first], found[order]) for order in others]
    for name in next(iter(found[first].values())):
        means = [f"{interval([m[name] for m in some.values()])[0]:.4g}" for some in found.values()]
        drawn.add_row(name, *means, *(_told(*one[name]) for one in against))
    return drawn


def draw(found: dict[Order, dict[int, Measures]]) -> Figure:
    """Draw every measure by order, a line a seed."""
    first = next(iter(found.values()))
    names, seeds = list(next(iter(first.values()))), list(first)
    rows = -(-len(names) // 4)
    figure = Figure(figsize=(13, 3.1 * rows), layout="constrained")
    for axes, name in zip(figure.subplots(rows, 4, squeeze=False).flat, names, strict=False):
        for seed in seeds:
            axes.plot(
                [" >\n".join(order) for order in found], [m[seed][name] for m in found.values()], "o-", label=seed
            )
        axes.set_title(name, fontsize=9)
        axes.margins(x=0.25)
        axes.grid(alpha=0.25)
    figure.axes[0].legend(title="seed", frameon=False, fontsize=8)
    for axes in figure.axes[len(names) :]:
        axes.set_axis_off()
    return figure


def _told(mean: float, half: float) -> str:
    return f"{mean:+.3g} ± {half:.2g}{' (real)' if abs(mean) > half else ''}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the multirun's folder")
    folder = parser.parse_args().folder
    found = by_order(folder)
    plain = [{"order": order, "seeds": some} for order, some in found.items()]
    (folder / "value_order.json").write_text(json.dumps(plain, indent=1))
    save(draw(found), folder, "value_order", forms=())
    Console(width=180).print(table(found))


if __name__ == "__main__":
    main()
