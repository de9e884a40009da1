"""What is checked once the model is loaded, and before anything is trained."""

from collections.abc import Sequence
from itertools import chain

from mva.data.preference import Dialogue
from mva.data.tokenization import TokenLimits, check_prompts_fit
from mva.evaluation.pair_sets import HELD_OUT, check_pairs
from mva.experiment import Session
from mva.models.lora import target_modules
from mva.rewards.sequence_classifier import SequenceClassifier


def check_session(session: Session) -> None:
    """Check before anything is trained that the adapter fits the model, and prompts and pairs what scores by them.

    Raises:
        ValueError: For the first target or prompt that does not, or the first value with too few pairs.
    """
    experiment = session.experiment
    target_modules(session.backbone.model, experiment.adapter.targets)
    if experiment.evaluation.by != "pairs":
        _check_prompts(session)
    if experiment.evaluation.by != "responses":
        for split in HELD_OUT:
            check_pairs(session.pairs(split), split)


def _check_prompts(session: Session) -> None:
    experiment, template = session.experiment, session.backbone.template
    prompts = [*session.prompts("validation"), *session.prompts("test")]
    limit = experiment.evaluation.generation.max_prompt_tokens
    check_prompts_fit(prompts, limit, template.prompt_ids, option="evaluation.generation.max_prompt_tokens")
    for value, reward in experiment.rewards.items():
        if isinstance(reward, SequenceClassifier):
            reward.check_server()
        limits = getattr(reward, "limits", None)  # rewards that read the backbone have them
        if isinstance(limits, TokenLimits):
            pairs = chain(session.data[value].train, *(source.pairs for source in session.sources))
            seen = [*prompts, *(pair.prompt for pair in pairs)]
            check_prompts_fit(
                _one_of_each_system(seen), limits.prompt, template.before_ids, option="reward.limits.prompt"
            )


def _one_of_each_system(prompts: Sequence[Dialogue]) -> list[Dialogue]:
    """Choose one prompt for each system turn: what can't be cut is the same in the others."""
    systems = {prompt[0].content if prompt[0].role == "system" else None: prompt for prompt in prompts}
    return list(systems.values())
