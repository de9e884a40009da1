"""`mva-judge run=FOLDER`: how often a judge prefers the front's responses to the base's, or to another run's.

Examples:
    mva-judge run=FOLDER                        against the base, by the run's own rewards (offline)
    mva-judge run=FOLDER judge=endpoint judge.dry_run=true   what would it cost to ask an LLM?
    mva-judge run=FOLDER judge.against=OTHER judge.against_candidate=ID   against a candidate of another run
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from mva.apps import assemble
from mva.apps.command import app
from mva.apps.folder_lock import writing_if_allowed
from mva.judging.base import Cost, Question
from mva.judging.judgement import Judgement, Match
from mva.judging.pairing import pair_up, responses
from mva.judging.win_rate import both_orders, judge_pairs
from mva.pareto.front import Front
from mva.records import write_json
from mva.runs.run_folder import RunFiles, read_run
from mva.shell import command_line, override
from mva.stages import Stages
from mva.terminal import Console


class Pairing(NamedTuple):
    """A candidate, its opponent's id, and what is asked about the two."""

    candidate: str
    opponent: str
    questions: list[Question]


@app
def main(config: DictConfig) -> None:
    """Judge, write judgement.json into the run's folder and show it.

    Raises:
        ValueError: If it is not clear what is to be compared, or it can't be.
    """
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-judge run=outputs/default/2026-11-23_14-05-00-000000")
    with writing_if_allowed(Path(config.run)) as writable:
        judgement = _judge(config)
        if judgement is None:
            return
        console, path = Console(), Path(config.run) / "judgement.json"
        if writable:
            write_json(path, judgement.to_json())
        console.print(judgement.table(), crop=False)
        if writable:
            console.print(f"Written to {path}", markup=False, highlight=False, soft_wrap=True)


def _judge(config: DictConfig) -> Judgement | None:
    """Ask the judge about every pair; None of a dry run, which says what it would cost."""
    settings, run = config.judge, read_run(Path(config.run))
    other = run if settings.against == "base" else read_run(Path(settings.against))
    _check_responses(run, other)
    judge = assemble.build(settings.by).open(run.folder)
    if other is not run and judge.record["kind"] == "rewards":
        _check_rewards(run, other)
    pairings = _pairings(run, other, settings)
    questions = [question for pairing in pairings for question in pairing.questions]
    cost, stages = judge.estimate(both_orders(questions)), Stages(run.folder)
    stages.tell([_announcement(cost, len(questions), settings.price_per_million_tokens)])
    if settings.dry_run:
        return None
    with stages.bar("Judge", cost.requests or None) as advance:
        judged = iter(judge_pairs(judge, questions, advance))
    labels = {line["id"]: _label(line["coefficients"]) for line in run.candidates}
    matches = [
        Match(one.candidate, labels.get(one.candidate, ""), one.opponent, list(islice(judged, len(one.questions))))
        for one in pairings
    ]
    return Judgement(judge.record, str(settings.against), matches, _front(run).smallest_difference)


def _pairings(run: RunFiles, other: RunFiles, settings: DictConfig) -> list[Pairing]:
    front = _front(run)
    chosen = [settings.candidate] if settings.candidate else [point.id for point in front.points]
    return list(_paired(run, other, chosen, settings))


def _paired(run: RunFiles, other: RunFiles, chosen: Sequence[str], settings: DictConfig) -> Iterator[Pairing]:
    values = [value for value in _front(run).values if value in _front(other).values]
    if not values:
        raise ValueError(f"{run.folder} and {other.folder} have no value in common.")
    for candidate in chosen:
        opponent = _base(run) if other is run else _opponent(other, candidate, settings.against_candidate)
        if other is not run or candidate != opponent:
            ours, theirs = responses(run.generations, candidate), responses(other.generations, opponent)
            yield Pairing(candidate, opponent, pair_up(ours, theirs, values))


def _front(run: RunFiles) -> Front:
    if run.front is None:
        command = command_line(["mva", override("hydra.run.dir", str(run.folder))])
        raise ValueError(f"{run.folder} has no front.json: finish the run first ({command}).")
    return run.front


def _base(run: RunFiles) -> str:
    base = _front(run).base
    if base is None:
        raise ValueError(
            f"{run.folder} has not scored its base (all coefficients zero): name another run, judge.against=FOLDER."
        )
    return base.id


def _opponent(other: RunFiles, candidate: str, named: str | None) -> str:
    points = [point.id for point in _front(other).points]
    if named is not None:
        return named
    if candidate in points:
        return candidate
    if len(points) == 1:
        return points[0]
    raise ValueError(
        f"Which candidate of {other.folder}? Name it: judge.against_candidate=ID, one of {', '.join(points[:5])} ..."
    )


def _check_responses(*runs: RunFiles) -> None:
    for run in runs:
        if _front(run).scored_by == "pairs":
            raise ValueError(
                f"{run.folder} was scored by preference pairs and holds no responses to judge: explore it again with "
                "evaluation.by=responses."
            )


def _check_rewards(run: RunFiles, other: RunFiles) -> None:
    for value, reward in run.rewards.items():
        if value in other.rewards and other.rewards[value]["key"] != reward["key"]:
            raise ValueError(
                f"{run.folder} and {other.folder} have other rewards of '{value}', whose numbers don't compare: "
                f"judge with judge=endpoint."
            )


def _announcement(cost: Cost, pairs: int, price: float | None) -> str:
    if not cost.requests:
        return f"{pairs} pairs; nothing is to be asked of an endpoint."
    money = "" if price is None else f", about {cost.tokens / 1e6 * price:.2f} at {price:g} a million"
    return f"{pairs} pairs; {cost.requests} requests still to be made, about {cost.tokens} tokens{money}."


def _label(coefficients: dict[str, float]) -> str:
    return ", ".join(f"{value} {omega:g}" for value, omega in coefficients.items())


if __name__ == "__main__":
    main()
