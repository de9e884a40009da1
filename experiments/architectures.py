"""Does the method depend on the architecture? Three small models trained from scratch, and SmolLM2, on the same path.

    python experiments/architectures.py pretrain     # GPT-2, GPT-NeoX and Llama of 5 million parameters, 5 minutes each
    python experiments/architectures.py run          # all models, arms and seeds; goes on where it stopped
    python experiments/architectures.py summarise

Every model has an unpenalised arm and two penalised ones: the paper's HSIC, and the squared cosine of the updates. A
model's rewards are heads on its own features: scores of different models don't compare, what arms of one model differ
in does. All arms and seeds of a model share prompts, scale and reference point.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from estimator_ablation import interval
from matplotlib.figure import Figure
from method_comparison import record as comparison_record
from numpy.typing import NDArray
from pretraining import ARCHITECTURES, RECORD, bits_per_byte, pretrain
from rich.console import Console
from rich.table import Table

from mva.models.backbone import load_backbone
from mva.models.sources.pretrained import Pretrained
from mva.models.sources.smollm2_wheel import SmolLM2Wheel
from mva.models.store import Store
from mva.pareto.bootstrap import Bootstrap
from mva.pareto.indicators import Yardstick
from mva.records import write_json
from mva.report.comparison import compare
from mva.report.figures import BLUE, GREY, ORANGE, save
from mva.report.front_view import BASE, CORNER, front_view
from mva.report.run_files import RunFiles
from mva.report.sweep_files import read_sweep

MODELS = (*ARCHITECTURES, "smollm2")
ARMS = {
    "unpenalised": ["penalty.strength=0"],
    "correlation": ["estimator=correlation", "penalty.strength=100"],
    "hsic": ["estimator=hsic", "penalty.strength=10"],
}
VALUES = ("helpful", "harmless")
COLUMNS = ("cosine", "cosine_independent", "cosine_chance", "norm_kept", "own_score_difference")
LANGUAGE = "language.json"
DATA = Path(os.environ.get("MVA_SHARED_DATA", "../shared/data"))
Runs = Mapping[str, Sequence[RunFiles]]


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

    def runs(self) -> dict[str, list[RunFiles]]:
        """Read the finished runs by arm, one a seed."""
        found = {arm: read_sweep(self.folder / arm) for arm in ARMS if any(self.folder.glob(f"{arm}/*/outcome.json"))}
        return {arm: [job.run for job in jobs if job.run] for arm, jobs in found.items() if any(j.run for j in jobs)}


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


def measure_language(model: Model, cache: Path) -> None:
    """Write down the model's size and how well it predicts good responses, unless that was done."""
    target = model.folder / LANGUAGE
    if target.exists():
        return
    source = SmolLM2Wheel(str(cache)) if model.name == "smollm2" else Pretrained(str(model.weights))
    backbone = load_backbone(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    language = {"parameters": backbone.model.num_parameters(), "bits_per_byte": bits_per_byte(backbone, Store(cache))}
    write_json(target, language)


def rewards_of(run: RunFiles) -> NDArray[np.float64]:
    """Per-prompt rewards of all candidates on validation prompts. Shape: `(n_candidates, n_prompts, n_values)`."""
    view = front_view(run)
    lines = {(g["id"], g["prompt_id"]): g["rewards"] for g in run.generations if g["split"] == "validation"}
    prompts = sorted({prompt for _, prompt in lines})
    return np.array([[[lines[c.id, p][v] for v in view.values] for p in prompts] for c in view.candidates])


def volumes(runs: Runs) -> dict[str, dict[str, Any]]:
    """Compare, by arm, the hypervolume of the whole box with that of the simplex in it, on the model's yardstick."""
    rewards = {arm: [rewards_of(one) for one in group] for arm, group in runs.items()}
    yardstick = Yardstick.of([array.mean(axis=1) for arrays in rewards.values() for array in arrays])
    convex = {arm: [[c.convex for c in front_view(one).candidates] for one in group] for arm, group in runs.items()}
    return {arm: box_and_simplex(rewards[arm], convex[arm], yardstick) for arm in runs}


def box_and_simplex(
    rewards: Sequence[NDArray[np.float64]], convex: Sequence[Sequence[bool]], yardstick: Yardstick
) -> dict[str, Any]:
    """Hypervolumes of all candidates, of the convex ones, and their difference, corrected for taking the best of noise.

    Shape: `(n_candidates, n_prompts, n_values)` and `(n_candidates,)` a seed.
    """
    simplex = [array[np.array(mask)] for array, mask in zip(rewards, convex, strict=True)]
    measure, bootstrap = yardstick.indicators()[0].measure, Bootstrap()
    difference = bootstrap.difference(rewards, simplex, measure)
    return {
        "box": asdict(bootstrap.interval(rewards, measure)),
        "simplex": asdict(bootstrap.interval(simplex, measure)),
        "difference": {**asdict(difference.interval), "verdict": difference.verdict},
    }


def vectors(runs: Sequence[RunFiles]) -> dict[str, Any]:
    """List, by seed, what an arm's vectors have in common, and what the penalty cost the second one."""
    cosines = [p for one in runs for p in one.dependence["pairs"] if p["estimator"] == "Correlation"]
    kept = [one.preservation.get("harmless") for one in runs]
    return {
        "cosine": [pair["dependence"] for pair in cosines],
        "cosine_independent": [pair["independent_training"] for pair in cosines],
        "cosine_chance": [pair["chance_mean"] for pair in cosines],
        "hsic": [p["dependence"] for one in runs for p in one.dependence["pairs"] if p["estimator"] == "HSIC"],
        "norm_kept": [one["norm"] / one["norm_independent"] if one else 1.0 for one in kept],
        "own_score_difference": [one["difference"] if one else 0.0 for one in kept],
    }


def samples(run: RunFiles, *, prompts: int = 2) -> list[dict[str, str]]:
    """List what base and single vectors answer to the first validation prompts."""
    named = {c.id: c.label for c in front_view(run).candidates if c.kind in (BASE, CORNER)}
    lines = [g for g in run.generations if g["split"] == "validation" and g["id"] in named]
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        row = found.setdefault(line["prompt_id"], {"prompt": line["prompt"][-1]["content"]})
        row[named[line["id"]]] = line["response"]
    return list(found.values())[:prompts]


def facts(model: Model) -> dict[str, Any]:
    """Everything that was found about a model."""
    runs = model.runs()
    first = next(iter(runs.values()))[0]
    pretraining = model.weights / RECORD
    record = json.loads(pretraining.read_text()) if pretraining.exists() else {}
    volume = volumes(runs)
    return {
        "model": model.name,
        "language": json.loads((model.folder / LANGUAGE).read_text()),
        "pretraining": {name: value for name, value in record.items() if name != "history"},
        "rewards": dict(first.rewards),
        "arms": {arm: {"vectors": vectors(group), "volumes": volume[arm]} for arm, group in runs.items()},
        "held_out": comparison_record(compare(runs)),
        "samples": samples(first),
    }


def model_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """What each model is, and what its rewards are worth."""
    table = Table("model", "parameters", "tokens seen", "held-out loss (nats a token)", "bits a byte", *VALUES)
    for one in found:
        record = one["pretraining"]
        seen = [f"{record['tokens']:,}", f"{record['held_out_loss']:.2f}"] if record else ["-", "-"]
        language, rewards = one["language"], [one["rewards"][value] for value in VALUES]
        agreement = [f"{100 * r['accuracy']:.0f} % ({100 * r['low']:.0f} to {100 * r['high']:.0f})" for r in rewards]
        size = f"{language['parameters'] / 1e6:.1f} M"
        table.add_row(one["model"], size, *seen, f"{language['bits_per_byte']:.2f}", *agreement)
    return table


def arm_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """What each arm's vectors have in common, what the penalty cost them, and how far the box reaches."""
    headings = ("squared cosine", "independent", "chance", "norm kept", "own score", "box", "simplex", "box - simplex")
    table = Table("model", "arm", "seeds", *headings)
    for one in found:
        for arm, content in one["arms"].items():
            columns = [content["vectors"][name] for name in COLUMNS]
            cells = ["{:.3g} ± {:.2g}".format(*interval(column)) for column in columns]
            volumes = [content["volumes"][name] for name in ("box", "simplex", "difference")]
            cells += ["{estimate:.3g} ({low:.3g} to {high:.3g})".format(**volume) for volume in volumes]
            cells[-1] += f": {volumes[-1]['verdict']}"
            table.add_row(one["model"], arm, str(len(columns[0])), *cells)
    return table


def draw(found: Sequence[Mapping[str, Any]], models: Sequence[Model]) -> Figure:
    """Draw, by model, all candidates of all arms, and the hypervolumes of box and simplex with their intervals."""
    figure = Figure(figsize=(3.6 * len(found), 6.4), layout="constrained")
    rows = figure.subplots(2, len(found), squeeze=False)
    for above, below, one, model in zip(*rows, found, models, strict=True):
        for (arm, runs), colour in zip(model.runs().items(), (GREY, BLUE, ORANGE), strict=False):
            for place, candidate in ((c.scores, c) for r in runs for c in front_view(r).candidates):
                marker = "s" if candidate.kind == BASE else "D" if candidate.convex else "o"
                above.plot(place["helpful"], place["harmless"], marker, color=colour, markersize=4, alpha=0.6)
            above.plot([], [], "o", color=colour, label=arm)
        above.set(title=one["model"], xlabel="helpful score", ylabel="harmless score")
        for place, content in enumerate(one["arms"].values()):
            for shift, (name, colour) in enumerate((("box", BLUE), ("simplex", ORANGE))):
                volume = content["volumes"][name]
                x = place + 0.25 * shift
                below.plot([x, x], [volume["low"], volume["high"]], color=colour)
                below.plot(x, volume["estimate"], "o", color=colour, label=name if place == 0 else None)
        below.set_xticks(range(len(one["arms"])), list(one["arms"]), fontsize=8)
        below.set_ylabel("hypervolume (scaled)")
    rows[0][0].legend(frameon=False, fontsize=8)
    rows[1][0].legend(frameon=False, fontsize=8)
    return figure


def summarise(models: Sequence[Model], home: Path) -> None:
    """Write results.json and the figure, and print the tables and samples of the models that have runs."""
    ready = [model for model in models if model.runs()]
    found = [facts(model) for model in ready]
    write_json(home / "results.json", found)
    save(draw(found, ready), home, "architectures", forms=())
    console = Console(width=220)
    console.print(model_table(found), arm_table(found))
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
    if options.step == "pretrain":
        for model in models:
            if model.name in ARCHITECTURES:
                pretrain(model.name, model.weights, minutes=options.minutes, data=DATA)
    elif options.step == "run":
        for model in models:
            measure_language(model, home / "cache")
            run(model, options.seeds, options.arms)
    else:
        summarise(models, home)


if __name__ == "__main__":
    main()
