"""How dialogues become text: the tokenizer's chat template, or labelled plain text where it has none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from mva.data.preference import Dialogue, Message, Role, user_prompt

_LABELS = {"system": "System", "user": "Human", "assistant": "Assistant"}
_PROBE = "\u2603"
# Templates that ask for today's date get this one (Llama 3's own where there is no clock): a prompt that changed
# overnight would have other log-probs, and other keys in the store.
TODAY = date(2024, 7, 26)
_ASKS_FOR_THE_DATE = re.compile(r"""strftime_now\(\s*(["'])(?P<format>[^"'\n]*)\1\s*\)""")


class RefusedDialogue(ValueError):
    """A dialogue that the chat template can't render, or renders without one of its turns."""


@dataclass(frozen=True)
class Frame:
    """What a rendering writes around an answer: `before` it, and `after` it up to the end of the text."""

    before: str
    after: str


@dataclass(frozen=True, eq=False)
class Rendering:
    """Render dialogues for one tokenizer.

    `system` is put before dialogues that bring no system turn. With `system_as_user` a system turn becomes the
    beginning of the first user turn, for templates without a system role. `template_kwargs` are passed to every
    rendering (`{"enable_thinking": False}`).
    """

    tokenizer: PreTrainedTokenizerBase
    system: str | None = None
    system_as_user: bool = False
    template_kwargs: Mapping[str, object] = field(default_factory=dict)
    _frames: dict[Dialogue, Frame] = field(default_factory=dict, init=False, repr=False)

    def prompt(self, dialogue: Dialogue) -> str:
        """Render a prompt up to where the assistant begins to speak.

        Raises:
            RefusedDialogue: If the template refuses the dialogue.
        """
        return self._render(self.with_system(dialogue), generation=True)

    def conversation(self, dialogue: Dialogue, answer: str, *, strict: bool = True) -> tuple[Frame, str]:
        """Render a prompt with its answer; returns what stands around the answer, and the whole text.

        Raises:
            RefusedDialogue: If the template refuses the dialogue, or (with `strict`) changes the answer's text.
        """
        frame = self.frame(dialogue)
        if not strict:
            return frame, frame.before + answer + frame.after
        whole = self._render([*self.with_system(dialogue), Message("assistant", answer)])
        if not whole.startswith(frame.before + answer):
            raise RefusedDialogue(
                f"the chat template changes the answer {shortened(answer)}: it renders "
                f"{shortened(whole[len(frame.before) :])}"
            )
        return Frame(frame.before, whole[len(frame.before) + len(answer) :]), whole

    def frame(self, dialogue: Dialogue) -> Frame:
        """Find what a rendering writes around an answer to `dialogue`, by a probe in its place.

        Raises:
            RefusedDialogue: If the template refuses the dialogue, or does not render answers.
        """
        if dialogue not in self._frames:
            whole = self._render([*self.with_system(dialogue), Message("assistant", _PROBE)])
            before, probe, after = whole.rpartition(_PROBE)
            if not probe:
                raise RefusedDialogue(f"the chat template leaves out the assistant's last turn: {shortened(whole)}")
            self._frames.clear()  # only the pair under way needs it again
            self._frames[dialogue] = Frame(before, after)
        return self._frames[dialogue]

    @cached_property
    def lead(self) -> str:
        """The white space that a rendering writes between the generation prompt and an answer.

        It belongs to the answer's first token: `Assistant:` + ` Yes`.
        """
        dialogue = user_prompt("?")
        prompt, before = self.prompt(dialogue), self.frame(dialogue).before
        between = before.removeprefix(prompt)
        return between if before.startswith(prompt) and between.isspace() else ""

    def check(self, dialogue: Dialogue) -> None:
        """Check that the template takes a dialogue with these roles, and renders each of its turns.

        Raises:
            RefusedDialogue: If it does not.
        """
        roles = tuple(turn.role for turn in dialogue)
        if roles not in self._checked:
            self._checked[roles] = self._refusal(roles)
        if reason := self._checked[roles]:
            raise RefusedDialogue(reason)

    @cached_property
    def _checked(self) -> dict[tuple[Role, ...], str]:
        return {}

    def _refusal(self, roles: tuple[Role, ...]) -> str:
        turns = tuple(Message(role, f"probe {number}.") for number, role in enumerate(roles))
        try:
            text = self.frame(turns).before
        except RefusedDialogue as error:
            return str(error)
        lost = [turn.role for turn in turns if turn.content not in text]
        return f"the chat template leaves out the {lost[0]} turn" if lost else ""

    def with_system(self, dialogue: Dialogue) -> list[Message]:
        """List the turns as the template gets them: with the system prompt, and system turns where they belong."""
        turns = list(dialogue)
        if self.system is not None and turns[0].role != "system":
            turns.insert(0, Message("system", self.system))
        if self.system_as_user and turns[0].role == "system":
            system, *later = turns
            if later and later[0].role == "user":
                turns = [Message("user", f"{system.content}\n\n{later[0].content}".strip()), *later[1:]]
            else:
                turns = [Message("user", system.content), *later]
        return turns

    @cached_property
    def dated_template(self) -> str | None:
        """The chat template with `TODAY` in place of the clock; None where it does not ask for the date."""
        template = self.tokenizer.get_chat_template()
        dated = _ASKS_FOR_THE_DATE.sub(lambda call: f'"{TODAY.strftime(call["format"])}"', template)
        return dated if dated != template else None

    def _render(self, turns: list[Message], *, generation: bool = False) -> str:
        if self.tokenizer.chat_template is None:
            return _labelled(turns, generation=generation)
        messages = [turn._asdict() for turn in turns]
        kwargs = dict(self.template_kwargs)
        try:
            rendered = self.tokenizer.apply_chat_template(
                messages,
                chat_template=self.dated_template,
                tokenize=False,
                add_generation_prompt=generation,
                **kwargs,
            )
        except Exception as error:  # a template is a program: it raises what it likes
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            roles = ", ".join(turn.role for turn in turns)
            raise RefusedDialogue(f"the chat template refuses a dialogue of {roles} ({reason})") from error
        return str(rendered)


def shortened(text: str, *, limit: int = 80) -> str:
    """Quote a text for a message: on one line, its middle left out where it is long."""
    half = limit // 2
    return repr(text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}")


def _labelled(turns: list[Message], *, generation: bool) -> str:
    labelled = [f"{_LABELS[turn.role]}: {turn.content}" for turn in turns]
    return "\n\n".join([*labelled, "Assistant:"] if generation else labelled)
