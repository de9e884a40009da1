"""Read dialogues out of what data sets hold: chat messages, labelled text, whole transcripts."""

import re
from collections.abc import Iterable, Mapping, Sequence

from mva.data.preference import Dialogue, Message, Role, user_prompt
from mva.data.sources.base import BadRow

_SPEAKERS: Mapping[str, Role] = {"Human:": "user", "Assistant:": "assistant"}
# The names of roles in chat messages, and those of ShareGPT's `from`.
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
}
_MARKED: Mapping[str, Role] = {"User": "user", "Assistant": "assistant"}
_MARK = re.compile(r"\s*<extra_id_1>(User|Assistant)\s*")
_LABEL = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_HUMAN = re.compile(r"^Human:", re.MULTILINE)
_LATE_LABEL = re.compile(r"^Assistant:", re.MULTILINE)
_LINE_LABEL = re.compile(r"^(?:Human|Assistant):", re.MULTILINE)


def read_prompt(origin: str, value: object, *, labelled: bool = False) -> Dialogue:
    """Read a prompt: plain text (with `labelled`, text with speakers' labels) or chat messages.

    Raises:
        BadRow: If it is neither, if it is empty, or if its last turn is not the user's.
    """
    if isinstance(value, str):
        prompt = labelled_dialogue(value) if labelled else user_prompt(value.strip())
    else:
        prompt = read_messages(origin, value)
    return checked_prompt(origin, prompt)


def checked_prompt(origin: str, prompt: Dialogue) -> Dialogue:
    """Let pass what a response can follow.

    Raises:
        BadRow: If the prompt is empty, or if its last turn is not the user's.
    """
    if not prompt or not prompt[-1].content.strip():
        raise BadRow(origin, "the prompt is empty")
    if prompt[-1].role != "user":
        raise BadRow(origin, "the prompt does not end with a user turn")
    for turn in prompt:
        check_encodable(origin, turn.content)
    return prompt


def labelled_dialogue(text: str) -> Dialogue:
    """Read `Human: ... Assistant: ... Human: ...` as turns; text with no label is one user turn.

    A speaker's consecutive turns become one, because most chat templates refuse roles that do not alternate.
    """
    turns: list[Message] = []
    for part in text.strip().split("\n\n"):
        unbroken = part.lstrip("\n")  # a label may follow several empty lines
        label = next((label for label in _SPEAKERS if unbroken.startswith(label)), None)
        role = _SPEAKERS[label] if label else turns[-1].role if turns else "user"
        content = unbroken[len(label) :].strip() if label else part
        if turns and turns[-1].role == role:
            turns[-1] = Message(role, f"{turns[-1].content}\n\n{content}")
        else:
            turns.append(Message(role, content))
    return tuple(Message(role, content.rstrip("\n")) for role, content in turns)


def read_messages(origin: str, value: object) -> Dialogue:
    """Read a list of chat messages, mappings with `role` and `content`.

    Raises:
        BadRow: If it is anything else.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        kind = type(value).__name__ if value or isinstance(value, bytes) else "an empty one"
        raise BadRow(origin, f"expected a list of messages, found {kind}")
    return tuple(_message(origin, turn) for turn in value)


def _message(origin: str, turn: object) -> Message:
    if not isinstance(turn, Mapping):
        raise BadRow(origin, f"a message is no mapping but {type(turn).__name__}")
    role, content = (turn["from"], turn.get("value")) if "from" in turn else (turn.get("role"), turn.get("content"))
    known = _ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise BadRow(origin, f"a message's role is {role!r}, expected one of {', '.join(_ROLES)}")
    return Message(known, _content(origin, content).strip())


def _content(origin: str, content: object) -> str:
    """Read a message's content: text, or a list of parts that are all text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or not content:
        raise BadRow(origin, f"a message's content is no text but {type(content).__name__}")
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise BadRow(origin, "a message's content has a part that is no text")
    return "".join(map(str, texts))


def read_answer(origin: str, prompt: object, value: object, *, labelled: bool = False) -> tuple[Dialogue, str]:
    """Read a response beside its prompt; returns the prompt and the response's text.

    The response is plain text, one assistant message, or the whole dialogue. A whole dialogue must begin with the
    prompt: with its messages, or (a prompt of plain text) with a user turn of the same text, behind a system turn or
    not. The turns up to the last are then the prompt.

    Raises:
        BadRow: If it is none of these.
    """
    beginning = read_prompt(origin, prompt, labelled=labelled)
    if isinstance(value, str):
        return beginning, value
    turns = read_messages(origin, value)
    if len(turns) == 1 and turns[0].role == "assistant":
        return beginning, turns[0].content
    before, answer = split_messages(origin, value)
    skipped = 1 if before[0].role == "system" and beginning[0].role != "system" else 0
    if before[skipped : skipped + len(beginning)] != beginning:
        raise BadRow(origin, "the prompt is not the beginning of the dialogue in the response's column")
    return before, answer


def marked_dialogue(text: str) -> Dialogue:
    """Read HelpSteer2's multi-turn prompts: `<extra_id_1>User` and `<extra_id_1>Assistant` begin a turn."""
    parts = _MARK.split(text.strip())
    roles: list[Role] = ["user", *(_MARKED[name] for name in parts[1::2])]
    turns = (Message(role, content.strip()) for role, content in zip(roles, parts[::2], strict=True))
    return tuple(turn for turn in turns if turn.content)


def split_messages(origin: str, value: object) -> tuple[Dialogue, str]:
    """Part a dialogue of chat messages into the prompt and the last response.

    Raises:
        BadRow: If it has no prompt, or no response behind it.
    """
    turns = read_messages(origin, value)
    if turns[-1].role != "assistant" or len(turns) < 2:
        raise BadRow(origin, "a whole dialogue must end with an assistant turn behind a prompt")
    return checked_prompt(origin, turns[:-1]), turns[-1].content


def split_transcript(origin: str, value: object) -> tuple[Dialogue, str]:
    """Part a labelled transcript into the prompt and the last assistant turn.

    Labels stand behind an empty line. What the human says behind the last assistant turn is cut off
    (`goes_on_for_the_human`); several assistant turns in a row are one turn.

    Raises:
        BadRow: If it is no text, or lacks a prompt or a response.
    """
    if not isinstance(value, str):
        raise BadRow(origin, f"the transcript is no text but {type(value).__name__}")
    before, answer, _ = _last_answer(value)
    if not before and not answer:
        hint = ": a label must follow an empty line" if _LATE_LABEL.search(value) else ""
        raise BadRow(origin, f"the transcript has no assistant turn{hint}")
    return checked_prompt(origin, labelled_dialogue(before)), cut_at_the_human(answer)


def goes_on_for_the_human(transcript: object) -> bool:
    """Say whether something of the human's stands behind a transcript's last assistant turn."""
    if not isinstance(transcript, str):
        return False
    _, answer, after = _last_answer(transcript)
    return bool(after) or cut_at_the_human(answer) != answer.strip()


def _last_answer(transcript: str) -> tuple[str, str, str]:
    """Part a transcript into what stands before its last assistant turn, that turn's text, and what follows it."""
    labels = list(_LABEL.finditer(transcript))
    last = next((k for k in reversed(range(len(labels))) if labels[k][1] == "Assistant"), None)
    if last is None:
        return "", "", ""
    first = last
    while first > 0 and labels[first - 1][1] == "Assistant":
        # Turns are joined unless the human speaks between them, under a label that follows no empty line.
        if _HUMAN.search(transcript, labels[first - 1].end(), labels[first].start()):
            break
        first -= 1
    ends = [label.start() for label in labels[first + 1 :]] + [len(transcript)]
    turns = zip(labels[first : last + 1], ends, strict=False)  # what follows the last assistant turn ends elsewhere
    parts = [transcript[label.end() : end].strip() for label, end in turns]
    after = transcript[ends[last - first] :]
    return transcript[: labels[first].start()], "\n\n".join(parts), after


def cut_at_the_human(response: str) -> str:
    """Cut a response off at a line that begins with the human's label."""
    return _HUMAN.split(response, maxsplit=1)[0].strip()


def holds_a_label(texts: Iterable[str]) -> bool:
    """Say whether a line of one of the texts begins with a speaker's label, which is then read as text."""
    joined = "\n".join(texts)
    return ("Human:" in joined or "Assistant:" in joined) and bool(_LINE_LABEL.search(joined))


def check_encodable(origin: str, text: str) -> None:
    """Refuse what no tokenizer takes: half of a character, left where a text was cut by its length.

    Raises:
        BadRow: If the text holds a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(origin, f"a text holds half a character (at {error.start}): cut it elsewhere") from error
