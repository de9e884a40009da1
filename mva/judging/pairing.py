"""Which responses are compared: two candidates' responses to the prompts that both have answered."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mva.judging.base import Question, Response

Responses = Mapping[str, tuple[str, Response]]
SPLIT = "test"


def responses(generations: Iterable[Mapping[str, Any]], candidate: str) -> Responses:
    """Collect a candidate's first responses to held-out prompts: (prompt as text, response) by prompt id.

    Args:
        generations: Lines of generations.jsonl.
        candidate: The candidate's id.

    Raises:
        ValueError: If it has none.
    """
    found = {
        line["prompt_id"]: (prompt_text(line["prompt"]), Response(line["response"], line["rewards"]))
        for line in generations
        if line["id"] == candidate and line["split"] == SPLIT and not line.get("sample")
    }
    if not found:
        raise ValueError(
            f"The candidate {candidate} has no responses to held-out prompts: those of the front have (see front.json)."
        )
    return found


def pair_up(ours: Responses, theirs: Responses, values: Sequence[str]) -> list[Question]:
    """Ask about each value and each prompt that both have answered, with our response first, value by value.

    Raises:
        ValueError: If they share no prompt.
    """
    shared = [prompt for prompt in ours if prompt in theirs]
    if not shared:
        raise ValueError("The two have answered no prompt in common: compare runs on the same data.")
    return [Question(value, ours[p][0], ours[p][1], theirs[p][1]) for value in values for p in shared]


def prompt_text(prompt: Sequence[Mapping[str, str]]) -> str:
    """Write a prompt's chat messages as text; with the roles' names if there are several."""
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
