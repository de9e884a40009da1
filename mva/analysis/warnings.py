"""What a reader must know before believing a run's numbers."""

from mva.analysis.reward_checks import WEAK_REWARD, weakest, weakest_words
from mva.runs.run_folder import RunFiles

NORM_KEPT = 0.7


def warnings(run: RunFiles) -> list[str]:
    """What a reader must know before believing the numbers."""
    found = [
        f"The reward of '{value}' agrees with only {reward['accuracy']:.0%} of its held-out pairs "
        f"(95 % interval {reward['low']:.0%} to {reward['high']:.0%}): its scores mean little."
        for value, reward in run.rewards.items()
        if reward["accuracy"] < WEAK_REWARD
    ]
    check = weakest(run.reward_checks)
    if check is not None and check["accuracy"] < WEAK_REWARD:
        found.append(f"{weakest_words(run.reward_checks)} Its scores mean little there.")
    if run.front and run.front.hypervolume_held_out is not None and run.front.hypervolume:
        kept = run.front.hypervolume_held_out / run.front.hypervolume
        if kept < 0.8:
            found.append(
                f"On held-out prompts the front keeps only {kept:.0%} of its hypervolume: it flattered itself."
            )
    for value, vector in run.preservation.items():
        ratio = vector["norm"] / vector["norm_independent"]
        if ratio < NORM_KEPT:
            found.append(
                f"The penalty shrank the vector of '{value}' to {ratio:.0%} of what it is without: its low dependence "
                f"may be bought by that. Choose a scale-invariant estimator, such as estimator=correlation."
            )
        if vector["high"] < 0:
            found.append(
                f"The penalty cost the vector of '{value}' {-vector['difference']:.2f} of its own score (95 % interval "
                f"{-vector['high']:.2f} to {-vector['low']:.2f}): lower penalty.strength."
            )
    if run.failed:
        ids = sorted({line["id"] for line in run.failed})
        more = ", ..." if len(ids) > 5 else ""
        reasons = ", ".join(sorted({line["failed"] for line in run.failed}))
        found.append(f"Failed candidates that are left out: {len(ids)} ({', '.join(ids[:5])}{more}): {reasons}.")
    if run.model.get("thoughts"):
        n_empty = sum(not line["response"] for line in run.generations)
        found.append(
            f"Thoughts up to {run.model['thoughts'][1]} are left out of responses, and no reward scores them. Of "
            f"{len(run.generations)} responses {n_empty} are empty: raise evaluation.generation.max_new_tokens if "
            "thoughts do not end."
        )
    if run.data_changed:
        found.append(
            f"The data of {', '.join(run.data_changed)} changed while this run went on: everything here is of the "
            "current data; what was found with the earlier data is left out."
        )
    for value, facts in run.data.items():
        found += [f"{value}: {count} x {problem}." for problem, count in facts.get("problems", {}).items()]
    return found
