"""Multi-value alignment on one screen (arXiv 2511.17579).

1. Train one value vector per value, each decorrelated from the earlier ones.
2. Make one reward per value.
3. Explore combinations `pi_base + sum_i omega_i theta_i` and score each with every reward.
4. Keep the Pareto-optimal ones: chosen on validation prompts, re-scored on held-out prompts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from mva.data.preference import Split, ValueData
from mva.engines.base import Scoring
from mva.evaluation.base import CandidateEvaluator
from mva.evaluation.by_pairs import PairEvaluator
from mva.evaluation.certainty import most_members, with_certainty, with_surface
from mva.evaluation.evaluator import Evaluator
from mva.evaluation.ledger import Ledger
from mva.experiment import Experiment, Session
from mva.extrapolation.candidate import Candidate
from mva.extrapolation.explore import explore
from mva.models.backbone import Backbone
from mva.models.value_vector import ValueVector
from mva.pareto.front import Front, select_front
from mva.rewards.base import Bar, Reward, RewardContext, silent
from mva.rewards.margin import RewardMargin
from mva.rewards.pessimism import pessimistic
from mva.search.listed import Listed
from mva.training.fit import Log, VectorFitter
from mva.training.task import Task


def filter_pairs(session: Session) -> Session:
    """Step 0, with a filter: leave training pairs out. What is held out, and the rewards, stay as they are."""
    chosen = session.experiment.filter
    if chosen is None:
        return session
    kept = chosen.select(session.data, make_rewards(session, []))
    session.stages.tell(
        f"{value}: {len(kept[value].train)} of {len(data.train)} training pairs are kept"
        for value, data in session.data.items()
    )
    return replace(session, filtered=kept)


def train_vectors(session: Session, *, log: Log) -> list[ValueVector]:
    """Step 1: `theta_i` minimises `L_preference(theta_i) + strength * sum_{j<i} dependence(theta_i, theta_j)`."""
    for value, data in session.tokenized.items():
        session.stages.tell(f"{value}: {line}" for line in data.summary())
    return session.experiment.plan.train(session.experiment.values, _fitter(session, log))


def train_independently(session: Session, vectors: Sequence[ValueVector]) -> list[ValueVector]:
    """The baseline: the same values without a penalty. A vector that never had one is taken as it is."""
    fit = _fitter(session, lambda _metrics, _step: None)
    return [fit(Task(vector.value)) for vector in vectors]


def make_rewards(session: Session, vectors: Sequence[ValueVector]) -> dict[str, Reward]:
    """Step 2: one reward per value; a reward may learn from the value's training pairs only."""
    return build_rewards(session.experiment, session.data, vectors, session.backbone, bar=session.stages.bar)


def build_rewards(
    e: Experiment,
    data: Mapping[str, ValueData],
    vectors: Sequence[ValueVector],
    backbone: Backbone,
    *,
    bar: Bar = silent,
) -> dict[str, Reward]:
    """Build the rewards beside a backbone: this process's, or that of an engine's worker; without a session."""
    policy = e.policy.build(backbone, vectors, e.composition) if vectors else None
    context = partial(
        RewardContext, backbone=backbone, store=e.store, policy=policy, vector_keys=_keys(vectors), bar=bar
    )
    return {value: e.rewards[value].build(context(value=value, data=data[value])) for value in data}


def find_front(
    session: Session, vectors: Sequence[ValueVector], rewards: Mapping[str, Reward], ledger: Ledger
) -> Front:
    """Steps 3 and 4: explore, keep the non-dominated candidates (of the simplex, too), score those again, held out."""
    e, stages = session.experiment, session.stages
    select = partial(
        select_front,
        values=e.values,
        reference_point=e.evaluation.reference_point,
        margin=e.evaluation.reference_margin,
        smallest_difference=e.evaluation.smallest_difference,
        select_by=e.evaluation.select_by,
        scored_by="pairs" if e.evaluation.by == "pairs" else "responses",
    )
    with stages.stage("Explore combinations"):
        evaluate = make_evaluator(session, vectors, rewards, ledger, split="validation")
        scored = explore(e.search.start(e.space, seed=e.seed), evaluate)
        stages.tell(_failures(evaluate))
    with stages.stage("Score the front on held-out prompts"):
        held_out = make_evaluator(session, vectors, rewards, ledger, split="test")
        while True:
            front = select(scored)
            scored_held_out = held_out([s.candidate for s in scored if s.candidate.id in front.to_score_again])
            # A candidate that fails on a held-out prompt belongs to no front: select again from the others.
            if not front.to_score_again & held_out.failed.keys():
                break
            scored = [s for s in scored if s.candidate.id not in held_out.failed]
        front = with_surface(front.with_held_out(scored_held_out), scored, evaluate)
        stages.tell([*_failures(held_out), *_out_of_reach(front), *_too_large(front), *_off_the_surface(front)])
        return with_certainty(front, scored, evaluate, scored_held_out, held_out)


def _failures(evaluate: CandidateEvaluator) -> list[str]:
    reasons = Counter(evaluate.failed.values())
    return [f"Failed candidates that are left out: {count} ({reason})." for reason, count in reasons.items()]


def _out_of_reach(front: Front) -> list[str]:
    """Warn of a given reference point that leaves no hypervolume to measure."""
    if front.hypervolume > 0 or front.reference_point_rule != "explicit":
        return []
    point = ", ".join(f"{value} {score:g}" for value, score in front.reference_point.items())
    return [
        f"Warning: no candidate exceeds the reference point ({point}) in every value, so the hypervolume is 0: lower "
        "evaluation.reference_point."
    ]


def _too_large(front: Front) -> list[str]:
    """Say why a large front has no probabilities."""
    most = most_members(len(front.values))
    if len(front.points) <= most:
        return []
    return [
        f"The front has {len(front.points)} candidates, more than the {most} of {len(front.values)} values whose true "
        "scores can be drawn: it has no probabilities, and no held-out hypervolume of the true scores."
    ]


def _off_the_surface(front: Front) -> list[str]:
    """Say which values' scores do not lie on a smooth surface."""
    fits = {} if front.surface is None else front.surface.fits
    return [
        f"The scores of '{value}' do not lie on a smooth surface (p = {fit.p_value:.2g}): its raw scores stand alone."
        for value, fit in fits.items()
        if not fit.used
    ]


def find_front_by_pairs(
    session: Session, vectors: Sequence[ValueVector], candidates: Sequence[Candidate], ledger: Ledger
) -> Front:
    """Score candidates that responses have scored already by preference pairs, too: a second record, in `ledger`."""
    e = session.experiment
    ledger.folder.mkdir(exist_ok=True)
    session.stages.tell(["The same candidates by preference pairs:"])
    again = Listed([dict(candidate.coefficients) for candidate in candidates])
    # What is in the rewards' units, or about them, is for the first record.
    by_pairs = replace(e.evaluation, by="pairs", reference_point="nadir", reward_check=None, pessimism=0.0)
    return find_front(replace(session, experiment=replace(e, search=again, evaluation=by_pairs)), vectors, {}, ledger)


def make_evaluator(
    session: Session, vectors: Sequence[ValueVector], rewards: Mapping[str, Reward], ledger: Ledger, *, split: Split
) -> CandidateEvaluator:
    """Score combinations of these vectors on the split's prompts, or (`evaluation.by=pairs`) on its pairs."""
    by_pairs = session.experiment.evaluation.by == "pairs"
    return (
        _by_pairs(session, vectors, ledger, split)
        if by_pairs
        else _by_responses(session, vectors, rewards, ledger, split)
    )


def _by_pairs(session: Session, vectors: Sequence[ValueVector], ledger: Ledger, split: Split) -> PairEvaluator:
    e = session.experiment
    assert e.pair_beta is not None
    return PairEvaluator(
        e.policy.build(session.backbone, vectors, e.composition),
        session.backbone,
        session.pairs(split),
        split=split,
        beta=e.pair_beta,
        store=e.store,
        ledger=ledger,
        vector_keys=_keys(vectors),
        bar=session.stages.bar,
    )


def _by_responses(
    session: Session, vectors: Sequence[ValueVector], rewards: Mapping[str, Reward], ledger: Ledger, split: Split
) -> Evaluator:
    e = session.experiment
    scoring = Scoring(partial(_scoring_rewards, e, session.data, vectors), e.evaluation.generation.strip_reasoning)
    return Evaluator(
        session.engine.responder(vectors, scoring),
        session.backbone,
        pessimistic(rewards, e.evaluation.pessimism),
        prompts=session.prompts(split),
        split=split,
        generation=e.evaluation.generation,
        ledger=ledger,
        vector_keys=_keys(vectors),
        samples=e.evaluation.samples,
        clusters=session.clusters(split),
        bar=session.stages.bar,
    )


def _scoring_rewards(
    e: Experiment, data: Mapping[str, ValueData], vectors: Sequence[ValueVector], backbone: Backbone
) -> dict[str, Reward]:
    """Build what an engine's worker scores candidates with."""
    return pessimistic(build_rewards(e, data, vectors, backbone), e.evaluation.pessimism)


def _fitter(session: Session, log: Log) -> VectorFitter:
    e = session.experiment
    rewards = cache(partial(make_rewards, session, []))  # made when the first is asked for
    return VectorFitter(
        session.backbone,
        session.tokenized,
        lora=e.adapter,
        objective=e.objective,
        decorrelation=e.decorrelation,
        recipe=e.recipe,
        execution=e.execution,
        store=e.store,
        seed=e.seed,
        log=log,
        bar=session.stages.bar,
        margin=lambda value: RewardMargin(rewards()[value]),
    )


def _keys(vectors: Sequence[ValueVector]) -> dict[str, str]:
    return {vector.value: vector.key for vector in vectors}
