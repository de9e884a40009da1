"""How responses are generated: the settings, and what an engine is asked to do with them."""

from dataclasses import asdict, dataclass
from typing import Annotated

from mva.checks import Bounds, Count, NotNegative, Seed, check
from mva.data.reasoning import Strip
from mva.data.template import Template
from mva.engines.base import Decoding
from mva.seeding import derive_seed


@dataclass(frozen=True)
class GenerationSpec:
    """How responses are generated.

    `max_new_tokens` and `max_prompt_tokens` (longer prompts are shortened) are in tokens, `batch_size`
    in responses. Temperature 0 is greedy decoding; otherwise tokens are sampled from the smallest set of
    probability `top_p`, as a function of `seed`, the prompt, the sample and the position alone. `strip_reasoning`
    leaves thoughts out of responses (see `thought_marks`).

    Raises:
        ValueError: If a number is out of its range.
    """

    max_new_tokens: Count
    temperature: NotNegative = 0.0
    top_p: Annotated[float, Bounds(0, 1, above=True)] = 1.0
    seed: Seed = 0
    batch_size: Count = 64
    max_prompt_tokens: Count = 1024
    strip_reasoning: Strip = "auto"

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def describe(self, noise: str) -> dict[str, object]:
        """List what the responses depend on: not the batch size; what is stripped depends on the template, too.

        Sampled responses depend on how their `noise` is made (see `Responder`), which greedy ones do not have.
        """
        left_out = ("batch_size", "strip_reasoning")
        settings = {name: setting for name, setting in asdict(self).items() if name not in left_out}
        return settings if self.temperature == 0 else {**settings, "noise": noise}

    def decoding(self, template: Template) -> Decoding:
        """Say how an engine is to decode, for a model with this template."""
        return Decoding(
            max_new_tokens=self.max_new_tokens,
            stop_ids=tuple(template.stop_ids),
            temperature=self.temperature,
            top_p=self.top_p,
            batch_size=self.batch_size,
        )

    def seed_of(self, prompt: str, sample: int = 0) -> int:
        """Derive the seed of a sample's noise from its number and the prompt's id: the same for all candidates."""
        return derive_seed(self.seed, prompt, sample) if sample else derive_seed(self.seed, prompt)
