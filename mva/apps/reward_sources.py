"""What rewards are checked on, and the record of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mva.data.labelled import LabelledPairs, check_unseen, read_labelled, renderable_sources
from mva.data.preference import ValueData
from mva.data.tokenized import examples
from mva.experiment import Experiment
from mva.models.backbone import Backbone
from mva.rewards.base import Bar, Reward
from mva.rewards.check import RewardCheck, check_rewards, number_of_checks
from mva.rewards.pessimism import pessimistic
from mva.stages import Stages


def read_sources(experiment: Experiment, data: Mapping[str, ValueData], stages: Stages) -> list[LabelledPairs]:
    """Read the files of `evaluation.reward_check`, and say what was skipped; before a model is loaded.

    Raises:
        ValueError: For the first file that no reward can be checked on.
        OSError: If a file can't be read.
    """
    evaluation = experiment.evaluation
    sources, skipped = read_labelled(
        evaluation.reward_check or (),
        form=evaluation.reward_check_format,
        on_bad_row=experiment.data.on_bad_row,
        limit=evaluation.n_reward_pairs,
    )
    check_unseen(sources, data)
    stages.tell(examples(skipped))
    return sources


def taken_sources(
    experiment: Experiment, sources: Sequence[LabelledPairs], backbone: Backbone, stages: Stages
) -> list[LabelledPairs]:
    """Leave out the pairs that the model's chat template refuses, and say which.

    Raises:
        ValueError: For the first one, unless bad rows are skipped; if a source has none left.
    """
    taken, refused = renderable_sources(sources, backbone.template.rendering, on_bad_row=experiment.data.on_bad_row)
    stages.tell(examples(refused))
    return taken


def run_checks(
    experiment: Experiment,
    rewards: Mapping[str, Reward],
    data: Mapping[str, ValueData],
    sources: Sequence[LabelledPairs],
    *,
    bar: Bar,
) -> list[RewardCheck]:
    """Check the rewards on their own held-out pairs and on the sources."""
    with bar("Check the rewards", number_of_checks(list(rewards), sources)) as advance:
        limit = experiment.evaluation.n_reward_pairs
        return list(check_rewards(rewards, data, sources, limit=limit, advance=advance))


def rewards_record(rewards: Mapping[str, Reward], checks: Sequence[RewardCheck], *, pessimism: float) -> dict[str, Any]:
    """Describe the rewards with their agreement on their own held-out pairs, and all checks: `rewards.json`.

    The key is that of what candidates are scored with: scores of equal keys compare.
    """
    own = {check.value: asdict(check.agreement) for check in checks if check.own}
    keys = {value: reward.key for value, reward in pessimistic(rewards, pessimism).items()}
    about = {
        value: {"kind": type(reward).__name__, "key": keys[value], **own[value]} for value, reward in rewards.items()
    }
    return {"rewards": about, "checks": [check.to_json() for check in checks]}
