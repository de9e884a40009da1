"""Run folders whose candidates were scored by preference pairs, made up: alone, or as the second record of a run."""

import json

import numpy as np

from mva.evaluation.ledger import Ledger
from mva.evaluation.pair_margins import MarginLedger, Stretch, accuracy, utilities
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front
from mva.records import write_json
from mva.statistics.unshared import by_prompt

BETA = 0.1


def score_by_pairs(run, home, *, slope=20.0, n_pairs=40, noise=4.0, key="pairs"):
    """Score the candidates of the run folder `run` by made-up pairs, and write that record into `home`.

    A candidate's margins are about `slope` times its scores by responses. A prompt has two pairs.
    """
    home.mkdir(exist_ok=True)
    ledger, margins = Ledger(home), MarginLedger(home)
    lines = [json.loads(line) for line in (run / "candidates.jsonl").read_text().splitlines()]
    if home == run:
        (run / "candidates.jsonl").unlink()
        (run / "generations.jsonl").unlink()
        (run / "rewards.json").unlink()
    rng, scored = np.random.default_rng(5), {"validation": [], "test": []}
    prompts = [f"prompt{number // 2:02d}" for number in range(n_pairs)]
    shared = {(split, value): noise * rng.standard_normal(n_pairs) for split in scored for value in lines[0]["scores"]}
    for line in lines:
        split, by_value, candidate = line["split"], {}, Candidate(line["coefficients"])
        for value, score in line["scores"].items():
            x = slope * score + shared[split, value] + rng.standard_normal(n_pairs)
            by_value[value] = x if any(candidate.coefficients.values()) else np.zeros(n_pairs)
            names = [f"{split} {value} {prompt}" for prompt in prompts]
            halves = [
                Stretch(candidate.id, value, k, names[k : k + 20], by_value[value][k : k + 20].tolist())
                for k in range(0, n_pairs, 20)
            ]
            margins.add(halves, split=split, beta=BETA, key=f"{key} {split}")
        scored[split].append(_scored(candidate, by_value, names=prompts, split=split))
    for split, candidates in scored.items():
        ledger.declare(split, f"{key} {split}")
        ledger.add_scored(candidates, key=f"{key} {split}")
    front = select_front(scored["validation"], values=list(lines[0]["scores"]), scored_by="pairs")
    write_json(home / "front.json", front.with_held_out(scored["test"]).to_json())
    how_many = {"n_pairs": n_pairs, "n_prompts": n_pairs // 2}
    values = {
        value: {"key": f"{key} {value}", "validation": how_many, "test": how_many} for value in lines[0]["scores"]
    }
    write_json(run / "pairs.json", {"schema_version": 1, "beta": BETA, "values": values})
    return run


def _scored(candidate, by_value, *, names, split):
    means = {value: by_prompt(utilities(x[None], BETA), names)[0][0] for value, x in by_value.items()}
    return ScoredCandidate(
        candidate=candidate,
        scores={value: float(x.mean()) for value, x in means.items()},
        standard_errors={value: float(x.std(ddof=1) / len(x) ** 0.5) for value, x in means.items()},
        n_prompts=len(set(names)),
        split=split,
        accuracies={value: accuracy(x) for value, x in by_value.items()},
    )
