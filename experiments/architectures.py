"""Does the method depend on the architecture? Three small models trained from scratch, and SmolLM2, on the same path.

    python experiments/architectures.py pretrain     # GPT-2, GPT-NeoX and Llama of 5 million parameters, 5 minutes each
    python experiments/architectures.py run          # all models, arms and seeds; goes on where it stopped
    python experiments/architectures.py summarise

Every model has an arm without a penalty and two with one: the squared cosine of the updates, and the paper's HSIC. A
model's rewards are heads on its own features: scores of different models don't compare, what arms of one model differ
in does. Each penalty with the arm without one is a 2 x 2 of decorrelation and extrapolation, as in two_by_two.py.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator_ablation import interval
from matplotlib.figure import Figure
from pretraining import ARCHITECTURES, RECORD, bits_per_byte, configured, pretrain
from rich.table import Table
from two_by_two import whole_table

from mva.analysis.front_view import BASE, CORNER, front_view
from mva.records import write_json
from mva.report.figures import save
from mva.report.style import BLUE, ORANGE
from mva.runs.run_folder import RunFiles
from mva.runs.sweep_folder import read_sweep
from mva.terminal import Console

MODELS = (*ARCHITECTURES, "smollm2")
NO_PENALTY = "unpenalised"
ARMS = {
    NO_PENALTY: ["penalty.strength=0"],
    "correlation": ["estimator=correlation", "penalty.strength=100"],
    "hsic": ["estimator=hsic", "penalty.strength=10"],
}
VALUES = ("helpful", "harmless")
LANGUAGE = "language.json"
DATA = Path(os.environ.get("MVA_SHARED_DATA", "../shared/data"))


@dataclass(frozen=True)
class Model:
    """One of the compared models, and where its runs lie."""

    home: Path
    name: str

    @property
    def weights(self) -> Path:
        """Where the pretrained weights are (none for SmolLM2)."""
        return self.home / "models" / self.name

    @property
    def folder(self) -> Path:
        """Where its runs go, by arm."""
        return self.home / "runs" / self.name

    @property
    def choice(self) -> list[str]:
        """The overrides that choose it."""
        return ["model=smollm2"] if self.name == "smollm2" else ["model=local", f"model.source.path={self.weights}"]

    def runs(self) -> dict[str, dict[int, RunFiles]]:
        """Read the finished runs, by arm and seed."""
        there = [arm for arm in ARMS if any((self.folder / arm).glob("*/outcome.json"))]
        runs = {arm: [job.run for job in read_sweep(self.folder / arm) if job.run] for arm in there}
        return {arm: {int(run.environment["seed"]): run for run in some} for arm, some in runs.items() if some}


def run(model: Model, seeds: Sequence[int], arms: Sequence[str]) -> None:
    """Run the arms as multiruns over the seeds, in processes of their own; finished jobs are skipped."""
    for arm in arms:
        folder = model.folder / arm
        folder.mkdir(parents=True, exist_ok=True)
        words = ["-m", "experiment=architectures", *model.choice, *ARMS[arm], f"seed={','.join(map(str, seeds))}"]
        places = [f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=seed${seed}"]
        command = [sys.executable, "-m", "mva.apps.run", *words, *places, "tracking=local", "report.forms=[]"]
        with (folder / "output.log").open("w") as log:
            code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        print(f"{folder}: {'ok' if code == 0 else f'FAILED with {code}, see output.log'}", flush=True)


def measure_language(model: Model) -> None:
    """Write down the model's size and how well it predicts good responses, unless that was done."""
    target = model.folder / LANGUAGE
    if not target.exists():
        experiment = configured(*model.choice)
        backbone = experiment.model.load()
        target.parent.mkdir(parents=True, exist_ok=True)
        size = backbone.model.num_parameters()
        write_json(target, {"parameters": size, "bits_per_byte": bits_per_byte(experiment, backbone)})


def vectors(runs: Sequence[RunFiles]) -> dict[str, list[float]]:
    """List, by seed, what an arm's vectors have in common, and what the penalty did to the second one.

    The second one's norm is given as a share of that without the penalty, its own value's score as the difference.
    """
    pairs = [p for one in runs for p in one.dependence["pairs"] if p["estimator"] == "Correlation"]
    kept = [one.preservation[VALUES[1]] for one in runs if VALUES[1] in one.preservation]
    return {
        "squared cosine": [pair["dependence"] for pair in pairs],
        "chance": [pair["chance_mean"] for pair in pairs],
        "norm kept": [one["norm"] / one["norm_independent"] for one in kept],
        "own score": [one["difference"] for one in kept],
    }


def samples(run: RunFiles, *, prompts: int = 2) -> list[dict[str, str]]:
    """List what the base and each vector alone answer to the first validation prompts."""
    named = {c.id: c.label for c in front_view(run).candidates if c.kind in (BASE, CORNER)}
    found: dict[str, dict[str, str]] = {}
    for line in run.generations:
        if line["split"] == "validation" and line["id"] in named:
            row = found.setdefault(line["prompt_id"], {"prompt": line["prompt"][-1]["content"]})
            row[named[line["id"]]] = line["response"]
    return list(found.values())[:prompts]


def designs(runs: Mapping[str, Mapping[int, RunFiles]]) -> dict[str, dict[str, Any]]:
    """Hold each penalty against none, over the seeds that both have: the 2 x 2 design, on held-out prompts too."""
    found = {}
    for arm in (arm for arm in runs if arm != NO_PENALTY):
        seeds = sorted(set(runs[arm]) & set(runs.get(NO_PENALTY, {})))
        if seeds:
            halves = [runs[NO_PENALTY][seed] for seed in seeds], [runs[arm][seed] for seed in seeds]
            found[arm] = {"seeds": seeds, "found": whole_table(*halves)}
    return found


def facts(model: Model) -> dict[str, Any]:
    """Everything that was found about a model."""
    runs = model.runs()
    first = next(run for some in runs.values() for run in some.values())
    pretraining = model.weights / RECORD
    record = json.loads(pretraining.read_text()) if pretraining.exists() else {}
    return {
        "model": model.name,
        "language": json.loads((model.folder / LANGUAGE).read_text()),
        "pretraining": {name: value for name, value in record.items() if name != "history"},
        "rewards": dict(first.rewards),
        "vectors": {arm: vectors(list(some.values())) for arm, some in runs.items()},
        "designs": designs(runs),
        "samples": samples(first),
    }


def tables(found: Sequence[Mapping[str, Any]]) -> tuple[Table, Table, Table]:
    """Lay out what each model is, what its vectors have in common, and what each part does to the hypervolume."""
    language = Table("model", "parameters", "tokens seen", "held-out loss (nats a token)", "bits a byte", *VALUES)
    shared = Table("model", "penalty", "seeds", "squared cosine", "chance", "norm kept", "own score")
    effects = Table("model", "penalty", "seeds", "candidates", "effect", "difference of hypervolumes", "verdict")
    for one in found:
        record = one["pretraining"]
        seen = [f"{record['tokens']:,}", f"{record['held_out_loss']:.2f}"] if record else ["-", "-"]
        size, bits = f"{one['language']['parameters'] / 1e6:.1f} M", f"{one['language']['bits_per_byte']:.2f}"
        agreement = ["{accuracy:.0%} ({low:.0%} to {high:.0%})".format(**one["rewards"][value]) for value in VALUES]
        language.add_row(one["model"], size, *seen, bits, *agreement)
        for arm, columns in one["vectors"].items():
            numbers = ["{:.3g} ± {:.2g}".format(*interval(column)) if column else "-" for column in columns.values()]
            shared.add_row(one["model"], arm, str(len(columns["chance"])), *numbers)
        for arm, design in one["designs"].items():
            rows = [(n, e, d) for n, part in design["found"].items() for e, d in part["effects"].items()]
            for number, effect, d in rows:
                shown = "{estimate:+.3f} ({low:.3f} to {high:.3f})".format(**d)
                effects.add_row(one["model"], arm, str(len(design["seeds"])), number, effect, shown, d["verdict"])
    return language, shared, effects


def draw(found: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw, by model, the squared cosine of every seed's vectors, and the hypervolumes of simplex and box."""
    figure = Figure(figsize=(3.4 * len(found), 6.4), layout="constrained")
    rows = figure.subplots(2, len(found), squeeze=False)
    for above, below, one in zip(*rows, found, strict=True):
        for place, columns in enumerate(one["vectors"].values()):
            for name, marker, colour in (("squared cosine", "o", BLUE), ("chance", "_", ORANGE)):
                label = name if place == 0 else None
                above.plot([place] * len(columns[name]), columns[name], marker, color=colour, label=label)
        above.set(title=one["model"], yscale="log", xticks=range(len(one["vectors"])), xticklabels=one["vectors"])
        for place, (name, volume) in enumerate(_volumes(one["designs"])):
            x, colour = place // 2 + 0.15 * (place % 2), BLUE if place % 2 else ORANGE
            below.plot([x, x], [volume["low"], volume["high"]], color=colour)
            below.plot(x, volume["estimate"], "o", color=colour, label=name if place < 2 else None)
        ticks = [f"{penalty} {arm}" for arm in one["designs"] for penalty in ("without", "with")]
        below.set(ylim=0, xticks=range(len(ticks)))
        below.set_xticklabels(ticks, rotation=20, ha="right")
    for axes, label in ((rows[0][0], "squared cosine of the updates"), (rows[1][0], "hypervolume, scaled scores")):
        axes.set_ylabel(label)
        axes.legend(frameon=False)
    return figure


def _volumes(designs: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """List simplex and box, without and with each penalty, in this order."""
    cells = [item for d in designs.values() for item in d["found"]["all candidates"]["cells"].items()]
    return [(cell.rpartition(" ")[2], volume) for cell, volume in cells]


def summarise(models: Sequence[Model], home: Path) -> None:
    """Write results.json and the figure; print the tables and samples of the models that have runs."""
    found = [facts(model) for model in models if model.runs()]
    write_json(home / "results.json", found)
    save(draw(found), home, "architectures", forms=())
    console = Console(width=180)
    console.print(*tables(found))
    for one in found:
        console.print(one["model"], *one["samples"], sep="\n", markup=False)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["pretrain", "run", "summarise"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--minutes", type=float, default=5.0, help="processor time of each pretraining")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--home", type=Path, default=Path("outputs/architectures"))
    options = parser.parse_args()
    home = options.home.resolve()
    models = [Model(home, name) for name in options.models]
    if options.step == "summarise":
        summarise(models, home)
    for model in models:
        if options.step == "pretrain" and model.name in ARCHITECTURES:
            pretrain(model.name, model.weights, minutes=options.minutes, data=DATA)
        elif options.step == "run":
            measure_language(model)
            run(model, options.seeds, options.arms)


if __name__ == "__main__":
    main()
