"""The judge behind an OpenAI-compatible endpoint; what it answered is kept and never paid twice."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Annotated, Any, get_args

from mva.checks import BadSetting, Bounds, Count, NotNegative, Text, check
from mva.evaluation.json_lines import JsonLines
from mva.fingerprint import fingerprint
from mva.judging.base import Answer, Cost, Judge, Question, Verdict
from mva.judging.chat import Access, Chat, EndpointRefused, NoReply
from mva.judging.verdict import read_verdict
from mva.records import SCHEMA_VERSION
from mva.shapes import fields, maybe, one_of, text

ANSWERS = "judge_answers.jsonl"
CHARACTERS_PER_TOKEN = 4
_FAILURES_IN_A_ROW = 5
_DAY = 86_400.0  # seconds
_NEEDED = frozenset({"prompt", "first", "second"})
_KNOWN = _NEEDED | {"value", "description", "mark"}
_MALFORMED = "malformed answer"

_ANSWER = fields({"key": text, "verdict": maybe(one_of(*get_args(Verdict)))}, {"reply": maybe(text)})


@dataclass(frozen=True)
class Endpoint:
    """How an endpoint is asked; where it is, its model and its key come from the environment (see `Access`).

    `system` and `question` are templates with `$value`, `$description`, `$prompt`, `$first`, `$second` and `$mark`, a
    word drawn from the texts' own hash, which no text can foresee and so none can close its quotation.
    `temperature` and `max_tokens` are left out of the request where they are None; `extra` is added to it.
    """

    system: str
    question: Text
    descriptions: Mapping[str, str]
    concurrency: Annotated[int, Bounds(1, 1000)] = 8
    timeout: Annotated[float, Bounds(0, _DAY, above=True)] = 60.0
    retries: Annotated[int, Bounds(0, 1000)] = 5
    back_off: Annotated[float, Bounds(0, _DAY)] = 1.0
    backoff_max: Annotated[float, Bounds(0, _DAY)] = 60.0
    malformed_retries: Annotated[int, Bounds(0, 1000)] = 2
    temperature: NotNegative | None = 0.0
    max_tokens: Count | None = 64
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse settings of another type, out of range, or that don't fit each other.

        Raises:
            BadSetting: For the first of them.
        """
        check(self)
        for name, template in (("system", self.system), ("question", self.question)):
            names = set(Template(template).get_identifiers())
            needed = _NEEDED if name == "question" else set()
            if not needed <= names <= _KNOWN:
                raise BadSetting(
                    name,
                    f"holds {_dollars(names)}: choose among {_dollars(_KNOWN)}; question needs {_dollars(_NEEDED)}.",
                )

    def open(self, folder: Path) -> Judge:
        """Read the environment and the answers that are already there."""
        return EndpointJudge(self, Access.from_environment(), JsonLines(folder / ANSWERS, _ANSWER))

    def body(self, question: Question, *, model: str) -> dict[str, Any]:
        """Write the request of a question."""
        texts = {"prompt": question.prompt, "first": question.first.text, "second": question.second.text}
        words = {
            "value": question.value,
            "description": self.descriptions.get(question.value, question.value),
            "mark": fingerprint(texts)[:12],
            **texts,
        }
        turns = [("system", self.system), ("user", self.question)]
        messages = [{"role": role, "content": Template(text).substitute(words)} for role, text in turns]
        limits = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        return {"model": model, "messages": messages, **given, **self.extra}


class EndpointJudge:
    """Asks the endpoint what the file of answers does not hold yet; a request's hash is its address there."""

    def __init__(self, spec: Endpoint, access: Access, answers: JsonLines) -> None:
        self._spec, self._access, self._file = spec, access, answers
        self._known: dict[str, Verdict | None] = {
            line["key"]: line["verdict"] or read_verdict(line.get("reply")) for line in answers.read()
        }
        self._writing = threading.Lock()

    @property
    def record(self) -> Mapping[str, object]:
        """Name the endpoint, the model and the templates."""
        templates = fingerprint([self._spec.system, self._spec.question])[:12]
        return {"kind": "endpoint", "host": self._access.host, "model": self._access.model, "template": templates}

    def estimate(self, questions: Sequence[Question]) -> Cost:
        """Count what is not yet answered; a token is taken for `CHARACTERS_PER_TOKEN` characters."""
        bodies = self._open(questions).values()
        characters = sum(len(turn["content"]) for body in bodies for turn in body["messages"])
        return Cost(len(bodies), characters // CHARACTERS_PER_TOKEN + len(bodies) * (self._spec.max_tokens or 0))

    def compare(self, questions: Sequence[Question], advance: Callable[[int], None]) -> list[Answer]:
        """Ask; every answer is on the disk before the next is waited for.

        Raises:
            EndpointRefused: If asking on makes no sense; the answers so far are kept.
        """
        failed = self._ask(self._open(questions), advance)
        keys = [fingerprint(self._body(question)) for question in questions]
        return [
            Answer(None, failed[key]) if key in failed
            else Answer(self._known[key], "" if self._known[key] else _MALFORMED)
            for key in keys
        ]  # fmt: skip

    def _body(self, question: Question) -> dict[str, Any]:
        return self._spec.body(question, model=self._access.model)

    def _open(self, questions: Sequence[Question]) -> dict[str, dict[str, Any]]:
        bodies = {fingerprint(body): body for body in map(self._body, questions)}
        return {key: body for key, body in bodies.items() if key not in self._known}

    def _ask(self, bodies: Mapping[str, dict[str, Any]], advance: Callable[[int], None]) -> dict[str, str]:
        """Ask at once as many as may be; returns what went wrong, by key."""
        spec, failed, in_a_row = self._spec, dict[str, str](), 0
        chat = Chat(
            self._access, connections=spec.concurrency, timeout=spec.timeout, retries=spec.retries,
            back_off=spec.back_off, backoff_max=spec.backoff_max,
        )  # fmt: skip
        pool = ThreadPoolExecutor(spec.concurrency)
        try:
            futures = {pool.submit(self._answer, chat, key, body): key for key, body in bodies.items()}
            for future in as_completed(futures):
                problem = _problem(future)
                in_a_row = in_a_row + 1 if problem else 0
                if problem:
                    failed[futures[future]] = problem
                if in_a_row >= _FAILURES_IN_A_ROW:
                    raise EndpointRefused(
                        f"{self._access.host} failed {in_a_row} times in a row, at last with: {problem}. "
                        f"The answers so far are kept: start again to go on."
                    )
                advance(1)
        finally:
            pool.shutdown(cancel_futures=True)
            chat.close()
        return failed

    def _answer(self, chat: Chat, key: str, body: Mapping[str, Any]) -> None:
        """Get one answer and write it down (here, so that what is paid is kept even if the others are stopped)."""
        verdict, reply, tokens = None, None, 0
        for _ in range(1 + self._spec.malformed_retries):
            reply = chat.send(body)
            tokens += _tokens(reply)
            verdict = read_verdict(_content(reply))
            if verdict:
                break
            if _is_cut_off(reply):
                raise NoReply(
                    f"the reply ends before its verdict: judge.by.max_tokens={self._spec.max_tokens} is too small"
                )
        said = self._access.without_key(_content(reply))
        line = {"key": key, "model": self._access.model, "verdict": verdict, "reply": said, "tokens": tokens}
        with self._writing:
            self._file.append([{"schema_version": SCHEMA_VERSION, **line}])
            self._known[key] = verdict


def _problem(future: "Future[None]") -> str:
    try:
        future.result()
    except NoReply as problem:
        return str(problem)
    return ""


def _content(reply: Mapping[str, Any] | None) -> str | None:
    """Take the text of a reply's first choice; a content of several parts is their text."""
    try:
        content = reply["choices"][0]["message"]["content"] if reply else None
    except (KeyError, IndexError, TypeError):
        return None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None


def _is_cut_off(reply: Mapping[str, Any] | None) -> bool:
    try:
        return bool(reply and reply["choices"][0]["finish_reason"] == "length")
    except (KeyError, IndexError, TypeError):
        return False


def _tokens(reply: Mapping[str, Any] | None) -> int:
    usage = (reply or {}).get("usage")
    total = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    return total if isinstance(total, int) else 0


def _dollars(names: Iterable[str]) -> str:
    return ", ".join(f"${name}" for name in sorted(names)) or "no names"
