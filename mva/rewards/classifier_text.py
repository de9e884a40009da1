"""How an exchange is written for a sequence classifier: a template, and the ids of its text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import Formatter

from transformers import PreTrainedTokenizerBase

from mva.data.preference import Dialogue

CHAT = "chat"


class BadTemplate(ValueError):
    """A template that does not say where prompt and response go, or that can't render a dialogue."""


def check_template(template: str) -> None:
    """Check that a written template has one place for the prompt and one for the response.

    Raises:
        BadTemplate: If it does not.
    """
    try:
        fields = sorted(name for _, name, _, _ in Formatter().parse(template) if name is not None)
    except ValueError as error:
        raise BadTemplate(f"reward.template {template!r} is not a format string: {error}.") from error
    if fields != ["prompt", "response"]:
        raise BadTemplate(
            f"reward.template {template!r} must hold {{prompt}} and {{response}} once each and nothing else "
            "(double the braces that are meant as text), or be 'chat'."
        )


@dataclass(frozen=True)
class ClassifierText:
    """Writes prompts and responses as a classifier reads them.

    `template` is `chat` for the tokenizer's chat template, or text with `{prompt}` and `{response}`, which is repeated
    for every exchange of a dialogue of several turns. Texts of more than `limit` tokens lose their beginning.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    limit: int

    def tokens(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> list[list[int]]:
        """Tokenise each response behind its prompt."""
        return [self._tokens(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]

    def _tokens(self, prompt: Dialogue, response: str) -> list[int]:
        if self.template == CHAT:
            turns = [turn._asdict() for turn in prompt] + [{"role": "assistant", "content": response}]
            text = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        else:
            text = "".join(self.template.format(prompt=p, response=r) for p, r in _exchanges(prompt, response))
        # A chat template writes its own special tokens; plain text gets the tokenizer's ([CLS], <s>, ...).
        special = self.template != CHAT
        self.tokenizer.truncation_side = "left"
        return list(self.tokenizer.encode(text, add_special_tokens=special, truncation=True, max_length=self.limit))


def _exchanges(prompt: Dialogue, response: str) -> Iterator[tuple[str, str]]:
    """Pair the user's turns with the assistant's."""
    contents = [turn.content for turn in prompt] + [response]
    roles = [turn.role for turn in prompt] + ["assistant"]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise BadTemplate(
            f"reward.template writes out alternating turns of user and assistant, not {roles}: use 'chat'."
        )
    return zip(contents[::2], contents[1::2], strict=True)
