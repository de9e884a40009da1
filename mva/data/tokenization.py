"""Preference pairs as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mva.data.preference import PreferencePair
from mva.data.template import Template


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """Token ids of a prompt and its two responses, each response with its end-of-turn token.

    `source` is the pair as text, where it came from one; it is no part of the pair's identity.
    """

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    source: PreferencePair | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class TokenLimits:
    """The longest prompt and response, in tokens."""

    prompt: int
    response: int

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing.

        Raises:
            ValueError: For a limit below 1.
        """
        if self.prompt < 1 or self.response < 1:
            raise ValueError(f"data.limits must be at least one token each, not {self.prompt} and {self.response}.")


def tokenize_pairs(pairs: Sequence[PreferencePair], template: Template, limits: TokenLimits) -> list[TokenizedPair]:
    """Tokenise pairs; prompts that are too long lose their beginning, responses their end."""
    return [
        TokenizedPair(
            prompt=tuple(template.prompt_ids(pair.prompt)[-limits.prompt :]),
            chosen=tuple(template.response_ids(pair.chosen)[: limits.response]),
            rejected=tuple(template.response_ids(pair.rejected)[: limits.response]),
            source=pair,
        )
        for pair in pairs
    ]
