"""Preference pairs as token ids, cut to limits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mva.checks import Count, check
from mva.data.preference import Dialogue, Message, PreferencePair
from mva.data.rendering import RefusedDialogue
from mva.data.sources.base import BadRow
from mva.data.template import ConversationIds, Template


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """Token ids of a prompt and its two responses, each response with its end-of-turn token.

    `source` is the pair as text, where it came from one; it is no part of the pair's identity. `cut` says that the
    limits took tokens, `spans` that a token spans the boundary of prompt and response.
    """

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    source: PreferencePair | None = field(default=None, compare=False, repr=False)
    cut: bool = field(default=False, compare=False, repr=False)
    spans: bool = field(default=False, compare=False, repr=False)

    @property
    def origin(self) -> str:
        """The place (`file:line`) of the pair; empty where it did not come from text."""
        return "" if self.source is None else self.source.origin


@dataclass(frozen=True)
class TokenLimits:
    """The longest prompt and response, in tokens."""

    prompt: Count
    response: Count

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)


def tokenize_pair(pair: PreferencePair, template: Template, limits: TokenLimits) -> TokenizedPair:
    """Tokenise a pair as the two conversations that it stands for.

    Prompts that are too long are shortened (see `fit_prompt`), responses lose their end.

    Raises:
        BadRow: If the template refuses the pair, or its prompt can't be cut to the limit.
    """
    try:
        template.rendering.check(pair.prompt)
        exchange = tokenize_answers(pair.prompt, (pair.chosen, pair.rejected), template, limits, strict=True)
    except RefusedDialogue as error:
        raise BadRow(pair.origin, str(error)) from error
    chosen, rejected = exchange.answers
    return TokenizedPair(exchange.prompt, chosen, rejected, pair, exchange.cut, exchange.spans)


@dataclass(frozen=True, slots=True)
class TokenizedAnswers:
    """The ids before the answers to one prompt, and each answer's own, with the end of turn (see `TokenizedPair`)."""

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    cut: bool
    spans: bool


def tokenize_answers(
    dialogue: Dialogue, answers: Sequence[str], template: Template, limits: TokenLimits, *, strict: bool = False
) -> TokenizedAnswers:
    """Tokenise answers to one prompt within the limits.

    All answers follow the same prompt ids: a token that spans the boundary in one of them is part of all answers.
    Given answers are read with `strict`, generated ones without (see `Template.conversation_ids`).

    Raises:
        RefusedDialogue: If the template refuses the dialogue, or the prompt can't be cut to the limit.
    """
    prompt = fit_prompt(dialogue, limits.prompt, template.before_ids)
    conversations = [template.conversation_ids(prompt, answer, strict=strict) for answer in answers]
    return cut_answers(conversations, limits, shortened=prompt != dialogue)


def cut_answers(
    conversations: Sequence[ConversationIds], limits: TokenLimits, *, shortened: bool = False
) -> TokenizedAnswers:
    """Part conversations with one prompt (which may have been `shortened`), and cut the answers to the limit."""
    start = min(conversation.start for conversation in conversations)
    whole = [conversation.ids for conversation in conversations]
    return TokenizedAnswers(
        prompt=tuple(whole[0][:start]),
        answers=tuple(tuple(ids[start : start + limits.response]) for ids in whole),
        cut=shortened or max(map(len, whole)) > start + limits.response,
        spans=any(conversation.spans for conversation in conversations),
    )


def generation_prompt_ids(dialogue: Dialogue, template: Template, *, limit: int) -> list[int]:
    """Tokenise the generation prompt of a dialogue, shortened to `limit` tokens.

    Raises:
        RefusedDialogue: If the template refuses the dialogue, or the prompt can't be cut to the limit.
    """
    return template.prompt_ids(fit_prompt(dialogue, limit, template.prompt_ids))


def check_prompts_fit(
    dialogues: Iterable[Dialogue], limit: int, encode: Callable[[Dialogue], Sequence[int]], *, option: str
) -> None:
    """Check that every prompt can be cut to `limit` ids; `option` is the limit's name in the configuration.

    Raises:
        ValueError: For the first prompt that can't.
    """
    for dialogue in dialogues:
        try:
            fit_prompt(dialogue, limit, encode)
        except RefusedDialogue as error:
            raise ValueError(f"{option}={limit}: {error}.") from error


def fit_prompt(dialogue: Dialogue, limit: int, encode: Callable[[Dialogue], Sequence[int]]) -> Dialogue:
    """Shorten a dialogue until `encode` gives at most `limit` ids.

    Old turns go first, whole, each user turn with the answers to it; then the beginning of what the last user turn
    says. The system turn and all that the template writes stay.

    Raises:
        RefusedDialogue: If the template alone takes more than `limit` ids.
    """
    if len(encode(dialogue)) <= limit:
        return dialogue
    system = dialogue[:1] if dialogue[0].role == "system" else ()
    users = [place for place, turn in enumerate(dialogue) if turn.role == "user" and place > len(system)]
    for first in users:
        if len(encode((*system, *dialogue[first:]))) <= limit:
            return (*system, *dialogue[first:])
    content = dialogue[-1].content

    def ending(n_characters: int) -> Dialogue:
        end_of_content = content[len(content) - n_characters :].lstrip()
        return (*system, Message(dialogue[-1].role, end_of_content))

    fits, too_many = 0, len(content)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if len(encode(ending(middle))) <= limit:
            fits = middle
        else:
            too_many = middle
    if not ending(fits)[-1].content:
        scaffold = len(encode(ending(0)))
        raise RefusedDialogue(
            f"the chat template and the system turn take {scaffold} tokens of the prompt's {limit}, which leaves "
            "nothing of the prompt: raise the limit"
        )
    return ending(fits)
