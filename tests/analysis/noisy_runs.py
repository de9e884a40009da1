"""Run folders whose rewards are a known truth with known noise of prompts, seeds and decoding."""

import numpy as np

from mva.data.preference import user_prompt
from mva.evaluation.ledger import Generation, Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front
from mva.records import write_json
from mva.runs.sweep_folder import Outcome

VALUES = ("helpful", "harmless")
GRID = [(x / 2, y / 2) for x in range(3) for y in range(3)]


def write_noisy_run(folder, *, seed=0, lift=0.0, n_prompts=24, own=0.5, of_seeds=0.1):
    """Nine candidates; prompts move all of them (standard deviation 1) and each alone (`own`), a seed all its scores."""
    folder.mkdir(parents=True)
    of_prompts = np.random.default_rng(7)
    generator = np.random.default_rng([seed, round(1000 * lift)])
    moved = of_seeds * generator.standard_normal(2)
    ledger, scored = Ledger(folder), {}
    for split in ("validation", "test"):
        shared = of_prompts.standard_normal((n_prompts, 2))
        scored[split] = []
        generations = []
        for x, y in GRID:
            truth = np.array([x - 0.4 * y + lift, y - 0.4 * x + lift]) + moved
            rewards = truth + shared + own * generator.standard_normal((n_prompts, 2))
            candidate = Candidate(dict(zip(VALUES, (x, y), strict=True)))
            mean = dict(zip(VALUES, rewards.mean(axis=0).tolist(), strict=True))
            scored[split].append(ScoredCandidate(candidate, mean, dict.fromkeys(VALUES, 0.2), n_prompts, split, 6.0))
            generations += [
                Generation(
                    candidate.id,
                    user_prompt(f"{split} {p}"),
                    "yes",
                    dict(zip(VALUES, row.tolist(), strict=True)),
                    split,
                )
                for p, row in enumerate(rewards)
            ]
        ledger.add_generations(generations, key="k")
        ledger.add_scored(scored[split], key="k")
    front = select_front(scored["validation"], values=VALUES, reference_point={"helpful": -2.0, "harmless": -2.0})
    reward = {"kind": "FittedHead", "accuracy": 0.8, "n_pairs": 90, "low": 0.7, "high": 0.9}
    stages = {"Load the model": 20.0, "Train value vectors": 200.0, "Explore combinations": 54.0}
    for name, record in {
        "front": front.with_held_out(scored["test"]).to_json(),
        "environment": {"seed": seed},
        "rewards": {"rewards": {value: {**reward, "key": value} for value in VALUES}},
        "timings": {"stages": [{"name": stage, "seconds": seconds} for stage, seconds in stages.items()]},
        "training": {"vectors": {value: {"cost": {"pairs": 10, "seconds": 150.0}} for value in VALUES}},
    }.items():
        write_json(folder / f"{name}.json", {"schema_version": 1, **record})
    (folder / "config.yaml").write_text(f"seed: {seed}\n")
    return folder


def write_noisy_sweep(folder, lifts, *, seeds=(0, 1, 2), **noise):
    """A multirun over `method`, whose settings lift all scores by `lifts`, and over seeds."""
    jobs = [(method, lift, seed) for method, lift in lifts.items() for seed in seeds]
    for number, (method, lift, seed) in enumerate(jobs):
        job = write_noisy_run(folder / f"method={method},seed={seed}", seed=seed, lift=lift, **noise)
        overrides = [f"method={method}", f"seed={seed}"]
        Outcome("run", number, overrides, "hash", "finished", 300.0, 1.0).write(job)
    return folder
