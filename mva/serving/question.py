"""What the page asks, checked: every refusal is one sentence."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from mva.data.preference import Dialogue, user_prompt
from mva.data.rendering import RefusedDialogue
from mva.extrapolation.space import CoefficientSpace
from mva.serving.speaker import Speaker


class BadQuestion(ValueError):
    """A question that can't be answered."""


@dataclass(frozen=True)
class Question:
    """A prompt, and coefficients in the order of the space's values."""

    prompt: Dialogue
    coefficients: tuple[float, ...]


def read_question(body: bytes, speaker: Speaker) -> Question:
    """Read `{"prompt": text, "coefficients": {vector: number}}`.

    Raises:
        BadQuestion: If it is not that, the prompt is empty or too long, or a coefficient is no number, is missing,
            belongs to no vector or lies outside of the space.
    """
    try:
        asked = json.loads(body, parse_int=float)  # a whole number beyond all floats becomes infinite, not an error
    except (ValueError, RecursionError) as error:
        raise BadQuestion("The question is not JSON.") from error
    if not isinstance(asked, Mapping) or set(asked) != {"prompt", "coefficients"}:
        raise BadQuestion('A question has exactly two parts: {"prompt": text, "coefficients": {vector: number}}.')
    return Question(_prompt(asked["prompt"], speaker), _coefficients(asked["coefficients"], speaker.space))


def _prompt(text: object, speaker: Speaker) -> Dialogue:
    if not isinstance(text, str) or not text.strip():
        raise BadQuestion("The prompt is empty: write something.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadQuestion("The prompt holds half a character (a lone surrogate): write it anew.") from error
    prompt, most = user_prompt(text.strip()), speaker.spec.max_prompt_tokens
    try:
        length = speaker.n_prompt_tokens(prompt)
    except RefusedDialogue as error:
        raise BadQuestion(f"The model can't read this prompt: {error}.") from error
    if length > most:
        raise BadQuestion(f"The prompt has {length} tokens, of which {most} can be read: shorten it.")
    return prompt


def _coefficients(given: object, space: CoefficientSpace) -> tuple[float, ...]:
    if not isinstance(given, Mapping) or set(given) != set(space.values):
        raise BadQuestion(f"Give one coefficient for each of {', '.join(space.values)}, and for nothing else.")
    for value, low, high in zip(space.values, space.lower, space.upper, strict=True):
        omega = given[value]
        if not isinstance(omega, float) or not math.isfinite(omega):
            raise BadQuestion(f"The coefficient of {value} is no number.")
        if not low <= omega <= high:
            raise BadQuestion(f"The coefficient of {value} is {omega:g}: it has to lie between {low:g} and {high:g}.")
    return space.candidate(given[value] for value in space.values).vector(space.values)
