"""Do value vectors stay decorrelated and effective over longer training, and is a merged candidate stable?

    python experiments/stability.py experiment=stability hydra.run.dir=outputs/stability

A Hydra app like `mva`, which it begins as: train, explore, report. Then, into stability.json and stability.png:

- along the way: at every snapshot (trainer.execution.snapshot_every) the dependence of each vector on the earlier ones
  as they ended, which is what the penalty sees, beside chance and beside training without the penalty; and the score of
  each vector alone on validation prompts.
- after a merge: the front's candidate that spans most by itself, or the one of `coefficients`, is merged into the
  weights (as `mva-export export.form=merged` does), and the merged model is trained further on the pairs of each of
  `further.pairs_of` (as `mva-train model=local` does), both in float32. Base, merged and tuned models are scored by the
  run's rewards on the same held-out prompts. What the further training adds is a low-rank update of the merged model,
  hence one of the base: the tuned model is the candidate `merged 1, further 1`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from estimator_ablation import interval
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.table import Table

from mva.apps import assemble
from mva.apps.command import app
from mva.apps.workflow import Workflow, open_workflow
from mva.diagnostics import Diagnostics, preservation
from mva.evaluation.ledger import Ledger
from mva.experiment import Session, open_session
from mva.extrapolation.candidate import Candidate
from mva.models.merge import merged
from mva.models.sources.pretrained import Pretrained
from mva.models.value_vector import ValueVector
from mva.pareto.front import Front, FrontPoint
from mva.pareto.hypervolume import hypervolume
from mva.pipeline import make_evaluator, make_rewards, train_independently, train_vectors
from mva.records import SCHEMA_VERSION, write_json
from mva.report.figures import save
from mva.rewards.base import Reward
from mva.terminal import Console
from mva.training.snapshots import Snapshots

BASE, MERGED, TUNED = (
    Candidate({"merged": first, "further": second}) for first, second in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
)


@dataclass(frozen=True)
class Study:
    """A finished run, looked at further; `home` is where its ledgers and models go."""

    session: Session
    vectors: Sequence[ValueVector]
    rewards: Mapping[str, Reward]
    home: Path

    def along_the_way(self) -> list[dict[str, Any]]:
        """Measure every snapshot: `step`, `pairs` and `values` (see `mva.diagnostics`), `scores` of vectors alone."""
        e, independent = self.session.experiment, train_independently(self.session, self.vectors)
        snapshots = Snapshots(e.store, e.execution.snapshot_every)
        ways, plain_ways = ([snapshots.of(vector) for vector in group] for group in (self.vectors, independent))
        found = []
        for step in ways[0]:
            now, plain = [way[step] for way in ways], [way[step] for way in plain_ways]
            evaluate, evaluate_plain = (
                make_evaluator(self.session, group, self.rewards, self._ledger(f"step{step}", name), split="validation")
                for name, group in (("penalised", now), ("independent", plain))
            )
            alone = evaluate([e.space.alone(vector.value) for vector in now])
            pairs = [
                row
                for i, j in combinations(range(len(now)), 2)
                for row in self._dependence((self.vectors[i], now[j]), (independent[i], plain[j]))
            ]
            scores = {v.value: one.scores[v.value] for v, one in zip(now, alone, strict=True)}
            values = preservation(
                now,
                plain,
                evaluate,
                evaluate_plain,
                space=e.space,
                smallest_difference=e.evaluation.smallest_difference,
            )
            found.append({"step": step, "pairs": pairs, "scores": scores, "values": values})
        return found

    def after_a_merge(self, config: DictConfig, candidate: Candidate) -> list[dict[str, Any]]:
        """Merge the candidate, train on: `trained_on`, and for each value how much of it is kept (see `kept`)."""
        backbone, e = self.session.backbone, self.session.experiment
        vector = replace(e.composition.compose(self.vectors, candidate.coefficients), value="merged", key=candidate.id)
        folder, found = self.merge(vector), []
        for value in config.further.pairs_of:
            tuned = self._further(config, value, folder)
            pair = (vector, replace(tuned, value="further", base=backbone.fingerprint))
            evaluate = make_evaluator(self.session, pair, self.rewards, self._ledger(f"tuned-{value}"), split="test")
            evaluate((BASE, MERGED, TUNED))
            rewards = {
                scored: [evaluate.rewards_of(one, scored) for one in (BASE, MERGED, TUNED)] for scored in self.rewards
            }
            found.append({"trained_on": value, "values": {name: kept(*three) for name, three in rewards.items()}})
        return found

    def merge(self, vector: ValueVector) -> Path:
        """Merge the vector in float32: bfloat16 rounds off a share of the weights, which is much of a small update."""
        backbone, folder = self.session.backbone, self.home / "merged"
        exact = replace(backbone, model=copy.deepcopy(backbone.model).float())
        with merged(exact, vector) as model:
            model.save_pretrained(folder)
        backbone.tokenizer.save_pretrained(folder)
        return folder

    def _dependence(self, vectors: Sequence[ValueVector], independent: Sequence[ValueVector]) -> list[dict[str, Any]]:
        return Diagnostics(self.session, vectors, independent).dependence()["pairs"]

    def _further(self, config: DictConfig, value: str, folder: Path) -> ValueVector:
        """Train a vector of `value` on the merged model in `folder`."""
        config = config.copy()
        config.value.names, config.trainer.recipe.steps = [value], config.further.steps
        e = assemble.experiment(config)
        data, _ = e.data.load(e.values)
        backbone = replace(e.model, source=Pretrained(str(folder)), dtype="float32").load()
        (vector,) = train_vectors(
            open_session(e, backbone, data, self.session.stages), log=lambda _metrics, _step: None
        )
        return vector

    def _ledger(self, *names: str) -> Ledger:
        folder = self.home.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return Ledger(folder)


def spans_most(front: Front) -> FrontPoint:
    """Choose the front's point with the largest hypervolume of its own: good for all values, best for none."""
    reference = list(front.reference_point.values())
    return max(front.points, key=lambda p: hypervolume([[p.scores[v] for v in front.reference_point]], reference))


def kept(base: Sequence[float], merged: Sequence[float], tuned: Sequence[float]) -> dict[str, Any]:
    """Compare rewards on the same prompts: mean scores, what tuning changed, and the share of the gain that is left.

    Shape: `(n_prompts,)` each. `change` and `half` are mean and half-width of the 95 % interval of tuned - merged;
    `share` = (tuned - base) / (merged - base) of the means, None where merging had gained nothing.
    """
    change, half = interval([after - before for after, before in zip(tuned, merged, strict=True)])
    scores = {name: sum(x) / len(x) for name, x in (("base", base), ("merged", merged), ("tuned", tuned))}
    gain = scores["merged"] - scores["base"]
    share = (scores["tuned"] - scores["base"]) / gain if gain > 0 else None
    return {**scores, "change": change, "half": half, "share": share, "n_prompts": len(base)}


def tables(record: Mapping[str, Any]) -> list[Table]:
    """Lay both parts out for the terminal."""
    way = Table("batches", "pair", "estimator", "dependence", "without penalty", "chance", "scores alone, difference")
    for row in record["along_the_way"]:
        scores = ", ".join(f"{value} {score:.2f}" for value, score in row["scores"].items())
        against = ", ".join(
            f"{v['difference']:+.2f} ({v['low']:.2f} to {v['high']:.2f})" for v in row["values"].values()
        )
        for pair in row["pairs"]:
            numbers = (pair["dependence"], pair["independent_training"], pair["chance_mean"])
            names = (f"{pair['first']}, {pair['second']}", pair["estimator"])
            way.add_row(str(row["step"]), *names, *(f"{x:.3g}" for x in numbers), f"{scores}; {against}")
    merge = Table("trained further on", "score of", "base", "merged", "tuned", "change", "gain kept", title="Held out")
    for row in record["after_a_merge"]["tuned"]:
        for value, one in row["values"].items():
            means = (f"{one[name]:.2f}" for name in ("base", "merged", "tuned"))
            share = "-" if one["share"] is None else f"{one['share']:.0%}"
            merge.add_row(row["trained_on"], value, *means, f"{one['change']:+.2f} ± {one['half']:.2f}", share)
    return [way, merge]


def draw(record: Mapping[str, Any]) -> Figure:
    """Draw dependence and scores along the way, and the scores of base, merged and tuned models."""
    way, tuned = record["along_the_way"], record["after_a_merge"]["tuned"]
    steps = [row["step"] for row in way]
    figure = Figure(figsize=(14, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for k, pair in enumerate(way[0]["pairs"]):
        name = f"{pair['first']}, {pair['second']} ({pair['estimator']})"
        for what, style in (("dependence", "o-"), ("independent_training", "s--"), ("chance_mean", ":")):
            label = f"{name}: {what.replace('_', ' ')}"
            left.plot(steps, [row["pairs"][k][what] for row in way], style, color=f"C{k}", label=label)
    for k, value in enumerate(way[0]["scores"]):
        middle.plot(steps, [row["scores"][value] for row in way], "o-", color=f"C{k}", label=value)
        if value in way[0]["values"]:
            plain = [row["values"][value]["score_independent"] for row in way]
            middle.plot(steps, plain, "s--", color=f"C{k}", label=f"{value}, without the penalty")
    for k, row in enumerate(tuned):
        for shift, (value, one) in enumerate(row["values"].items()):
            line = [one[name] for name in ("base", "merged", "tuned")]
            label = f"{value}, trained further on {row['trained_on']}"
            right.plot(["base", "merged", "tuned"], line, "os"[k % 2] + "-", color=f"C{shift}", label=label)
    titles = ("dependence on the earlier vector as it ended", "score of each vector alone", "after a merge, held out")
    for axes, title in zip((left, middle, right), titles, strict=True):
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=7)
    left.set(xlabel="batches", yscale="log")
    middle.set_xlabel("batches")
    return figure


@app
def main(config: DictConfig) -> None:
    """Run, then look at the run's vectors along the way and after a merge."""
    with open_workflow(config, job_type="run") as workflow:
        vectors = workflow.train()
        front = workflow.explore(vectors)
        record = _study(workflow, config, vectors, front)
    write_json(workflow.folder / "stability.json", {"schema_version": SCHEMA_VERSION, **record})
    save(draw(record), workflow.folder, "stability", forms=())
    Console(width=180).print(*tables(record))


def _study(workflow: Workflow, config: DictConfig, vectors: Sequence[ValueVector], front: Front) -> dict[str, Any]:
    coefficients = config.coefficients or spans_most(front).coefficients
    candidate = workflow.session.experiment.space.candidate(coefficients[vector.value] for vector in vectors)
    rewards = make_rewards(workflow.session, vectors)
    study = Study(workflow.session, vectors, rewards, workflow.folder / "stability")
    with workflow.session.stages.stage("Look at the snapshots"):
        way = study.along_the_way()
    with workflow.session.stages.stage("Train a merged candidate further"):
        tuned = study.after_a_merge(config, candidate)
    merge = {"candidate": candidate.id, "coefficients": dict(candidate.coefficients), "tuned": tuned}
    return {"along_the_way": way, "after_a_merge": merge}


if __name__ == "__main__":
    main()
