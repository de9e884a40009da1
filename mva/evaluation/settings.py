"""The `evaluation` group: how candidates are scored and the front is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mva.checks import BadSetting, Count, NotNegative, Place, Positive, Text, check
from mva.data.formats import PairFormat
from mva.evaluation.generation import GenerationSpec
from mva.pareto.front import SMALLEST_DIFFERENCE, SelectBy

By = Literal["responses", "pairs", "both"]


@dataclass(frozen=True)
class EvaluationSettings:
    """How many prompts, how responses are generated, from which point hypervolume is measured.

    `reference_point` is a number per value, or "nadir": the worst score of all candidates minus
    `reference_margin` of the range. Scores stay in the rewards' own units.
    `smallest_difference` is the share of a hypervolume (of a score's range, of a win rate) that matters to you: smaller
    differences are reported as none, where that is certain.
    Each candidate gives `samples` responses to a prompt. `cluster` names the field of the data's rows that says which
    prompts belong together (those of a dialogue, of a source): standard errors then count clusters, not prompts.
    `select_by` says which scores a candidate is chosen by from the front: raw means, or those read off a surface.
    `by` says what candidates are scored by: their responses and the rewards, held-out preference pairs, or both (the
    responses decide, the pairs are a second record). `n_pairs` bounds each value's pairs in a split (None = all), and
    `pair_beta` scales their margins (None = the objective's beta).
    `n_reward_pairs` bounds the held-out pairs that each reward is checked on (None = all), and the pairs of each file
    of `reward_check`: files or folders of labelled pairs that all rewards are checked on, too, or such lists by value.
    `reward_check_format` says how their rows become pairs (None = by their columns).
    `pessimism` is how many standard deviations over a reward's ensemble are taken off every response's reward.
    """

    n_validation_prompts: Count
    n_test_prompts: Count
    generation: GenerationSpec
    reference_point: Mapping[str, float] | Literal["nadir"] = "nadir"
    reference_margin: NotNegative = 0.1
    n_reward_pairs: Count | None = None
    smallest_difference: NotNegative = SMALLEST_DIFFERENCE
    select_by: SelectBy = "raw"
    reward_check: Mapping[str, Sequence[Place]] | Sequence[Place] | None = None
    reward_check_format: PairFormat | None = None
    samples: Count = 1
    cluster: Text | None = None
    pessimism: NotNegative = 0.0
    by: By = "responses"
    n_pairs: Count | None = None
    pair_beta: Positive | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated, and several samples where all would be the same.

        Raises:
            BadSetting: For the first of them.
        """
        check(self)
        if self.samples > 1 and self.generation.temperature == 0:
            raise BadSetting(
                "samples",
                f"is {self.samples}, but generation.temperature is 0, so that all responses to a prompt are the same: "
                "choose a temperature above 0, or samples=1.",
            )
