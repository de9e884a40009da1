"""How dialogues become token ids: exactly those of the whole conversation, as the model's own template writes it.

The ids of a prompt and its answer are a beginning of the ids of the rendered conversation, up to and with the end of
turn. The conversation is tokenised as a whole, and the answer's first token is found in it: text that is tokenised
apart gets other tokens wherever a tokenizer looks across the boundary (SentencePiece puts a blank before a text).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from transformers import PreTrainedTokenizerBase

from mva.data.control_tokens import ControlTokens
from mva.data.preference import Dialogue, Message, user_prompt
from mva.data.rendering import TODAY, RefusedDialogue, Rendering, shortened
from mva.fingerprint import fingerprint

_PROBE = "\u2603"


class UnusableTemplate(ValueError):
    """A chat template with which answers can't be trained and scored as the model's conversations have them."""


@dataclass(frozen=True, slots=True)
class ConversationIds:
    """The ids of a conversation up to the end of its last turn.

    `ids[start:]` are the answer's. A token that spans the boundary between prompt and answer belongs to the answer
    (`spans`): the generation prompt then ends with another token.
    """

    ids: list[int]
    start: int
    spans: bool


class Template:
    """Turn dialogues and answers into ids for one tokenizer (see `Rendering` for the settings)."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        system: str | None = None,
        system_as_user: bool = False,
        template_kwargs: Mapping[str, object] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.rendering = Rendering(tokenizer, system, system_as_user, dict(template_kwargs or {}))
        self._last_before: tuple[Dialogue, list[int]] | None = None  # both responses of a pair follow one prompt

    @cached_property
    def key(self) -> str:
        """Identity for caches: a hash of the chat template, its settings and a probe's ids."""
        rendering, probe = self.rendering, user_prompt("probe")
        answer = self.conversation_ids(probe, "probe")
        parts: list[object] = [
            self.tokenizer.chat_template,
            rendering.system,
            self.prompt_ids(probe),
            answer.ids[answer.start :],
        ]
        if rendering.template_kwargs or rendering.system_as_user:  # the keys of templates without them stay as they are
            parts.append({"kwargs": dict(rendering.template_kwargs), "system_as_user": rendering.system_as_user})
        return fingerprint(parts)[:16]

    @cached_property
    def end_of_turn(self) -> str:
        """What the chat template writes right behind an assistant's turn; the end-of-sequence token otherwise."""
        if self.tokenizer.chat_template:
            after = self.rendering.frame(user_prompt("?")).after.strip()
            marks = [mark for mark in self.control_tokens.marks if after.startswith(mark)]
            if marks:
                return max(marks, key=len)
        return str(self.tokenizer.eos_token or "")

    @cached_property
    def control_tokens(self) -> ControlTokens:
        """The tokenizer's control tokens, which a text can't write."""
        question = user_prompt(_PROBE)
        frame = self.rendering.frame(question)
        return ControlTokens(self.tokenizer, f"{frame.before}{frame.after}{self.rendering.prompt(question)}")

    @cached_property
    def stop_ids(self) -> list[int]:
        """Ids that end a response: the end of turn and the end of sequence."""
        end_of_turn = self._encode(self.end_of_turn)[-1:]
        return sorted({*end_of_turn, *([] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id])})

    def text(self, dialogue: Dialogue) -> str:
        """Render a prompt up to where the assistant begins to speak."""
        return self.rendering.prompt(dialogue)

    def prompt_ids(self, dialogue: Dialogue) -> list[int]:
        """Tokenise the generation prompt, which the model continues.

        Raises:
            RefusedDialogue: If the template refuses the dialogue.
        """
        return self._tokenize(self.rendering.prompt, dialogue)

    def before_ids(self, dialogue: Dialogue) -> list[int]:
        """Tokenise what the conversation holds before the answer's first token.

        Raises:
            RefusedDialogue: If the template refuses the dialogue.
        """
        if self._last_before is None or self._last_before[0] != dialogue:
            self._last_before = dialogue, self._tokenize(self._before, dialogue)
        return self._last_before[1]

    def conversation_ids(self, dialogue: Dialogue, answer: str, *, strict: bool = True) -> ConversationIds:
        """Tokenise a prompt with its answer, up to and with the end of turn.

        Where the template writes no mark behind the last turn, the end-of-sequence token is added. What a model has
        generated is read with `strict=False`: whatever it is, it stands as it is where the template writes answers.

        Raises:
            RefusedDialogue: If the template refuses the dialogue, or (with `strict`) changes the answer's text.
        """
        before = self.before_ids(dialogue)
        render = partial(self._up_to_the_end, strict=strict)
        whole = self._tokenize(render, (*dialogue, Message("assistant", answer)), strict=strict)
        return self.parted(before, whole)

    def parted(self, before: Sequence[int], whole: list[int]) -> ConversationIds:
        """Find where the answer begins, by the ids before it and those of the rendered conversation."""
        if not self._writes_end_of_turn:
            whole = whole + self._encode(self.end_of_turn)
        start = _common_beginning(before, whole)
        return ConversationIds(whole, start, spans=start < len(before))

    def texts(self, dialogue: Dialogue, answers: Sequence[str]) -> tuple[str, list[str]]:
        """Render what stands before the answers to a prompt, and the conversation with each of them.

        These are the texts of `before_ids` and `conversation_ids`, where no content holds a control token.

        Raises:
            RefusedDialogue: If the template refuses the dialogue, or changes an answer's text.
        """
        wholes = [self._up_to_the_end((*dialogue, Message("assistant", answer)), strict=True) for answer in answers]
        return self._before(dialogue), wholes

    def with_bos(self, ids: list[int]) -> list[int]:
        """Put the beginning of sequence before the ids of a text, where no chat template writes it."""
        bos = self.tokenizer.bos_token_id
        needs_bos = not self.tokenizer.chat_template and bos is not None and ids[:1] != [bos]
        return [bos, *ids] if needs_bos else ids

    def check(self) -> None:
        """Check with a probe that conversations can be tokenised as the template writes them.

        Raises:
            UnusableTemplate: If not; the message shows both texts where they part.
        """
        rendering, question = self.rendering, user_prompt("What is the time?")
        renders_itself = type(self.tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template
        if self.tokenizer.chat_template is None and renders_itself:
            raise UnusableTemplate(
                f"The tokenizer {type(self.tokenizer).__name__} renders dialogues with its own code instead of a "
                "chat template: use the model's tokenizer.json with its chat template."
            )
        try:
            if rendering.system is not None:
                rendering.check((Message("system", "Be kind."), *question))
            for answer in ("Yes, of course.", "12"):
                rendering.conversation(question, answer)
                self.conversation_ids(question, answer)
        except RefusedDialogue as error:
            mend = ""
            if rendering.system is not None:
                mend = ": set model.system_as_user=true, or model.system_prompt=null"
            raise UnusableTemplate(f"The model can't be used, because {error}{mend}.") from error

    @property
    def notes(self) -> list[str]:
        """List what the user should know of the template, in sentences."""
        notes = [] if self.unlike_conversations is None else [self.unlike_conversations]
        if self.tokenizer.chat_template and self.rendering.dated_template:
            notes.append(f"The model's chat template writes today's date: here it is always {TODAY:%d %B %Y}.")
        return notes

    @cached_property
    def unlike_conversations(self) -> str | None:
        """Say how the generation prompt differs from what conversations hold before an answer; None if it does not."""
        question = user_prompt("?")
        prompt, before = self.rendering.prompt(question), self._before(question)
        if prompt == before:
            return None
        common = prompt[: _common_beginning(prompt, before)]
        return (
            f"The model's generation prompt ends with {shortened(prompt[len(common) :])}, where its finished "
            f"conversations have {shortened(before[len(common) :])} before the answer: answers are trained and "
            "scored as in the conversations. If the template knows a switch for it, set model.template_kwargs."
        )

    @cached_property
    def _writes_end_of_turn(self) -> bool:
        return self.rendering.frame(user_prompt("?")).after.strip().startswith(self.end_of_turn or _PROBE)

    def _before(self, dialogue: Dialogue) -> str:
        return self.rendering.frame(dialogue).before.removesuffix(self.rendering.lead)

    def _up_to_the_end(self, dialogue: Dialogue, *, strict: bool) -> str:
        """Render a conversation up to and with the end of its last turn, or without the white space at its end."""
        *prompt, answer = dialogue
        frame, whole = self.rendering.conversation(tuple(prompt), answer.content, strict=strict)
        if self._writes_end_of_turn:
            cut = frame.after.index(self.end_of_turn) + len(self.end_of_turn)
        else:
            cut = len(frame.after.rstrip())
        return whole[: len(whole) - len(frame.after) + cut]

    def _tokenize(self, render: Callable[[Dialogue], str], dialogue: Dialogue, *, strict: bool = True) -> list[int]:
        """Tokenise a rendering of `dialogue`; what looks like a control token in its texts is text."""
        roles = [turn.role for turn in dialogue]

        def render_contents(contents: Sequence[str]) -> str:
            return render(tuple(Message(role, content) for role, content in zip(roles, contents, strict=True)))

        contents = [turn.content for turn in dialogue]
        return self.with_bos(self.control_tokens.encode(render_contents, contents, strict=strict))

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


def _common_beginning(first: Sequence[int] | str, second: Sequence[int] | str) -> int:
    """Count the ids (or characters) at the beginning that both have."""
    if first == second[: len(first)]:
        return len(first)
    shorter = min(len(first), len(second))
    return next((k for k in range(shorter) if first[k] != second[k]), shorter)
