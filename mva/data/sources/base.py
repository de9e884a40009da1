"""Where rows come from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mva.terminal import visible

_LONGEST_MESSAGE = 400


def printable(text: str) -> str:
    """Escape control characters and line ends, and cut a text to a message's length."""
    shown = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."
    return visible(shown, one_line=True)


class BadRow(ValueError):
    """A row that can't be used; the message starts with where it stands (`file:line`).

    Messages may quote the data: control characters are escaped, and long ones are cut.
    """

    def __init__(self, origin: str, problem: str) -> None:
        self.origin = origin
        self.problem = printable(problem)
        super().__init__(f"{origin}: {self.problem}")


class DataUnavailable(OSError):
    """The data can't be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """Fields by name, and where they stand."""

    origin: str
    fields: Mapping[str, Any]


class Source(Protocol):
    """A plug-in that yields rows; one that can't be read is yielded as a BadRow, and reading goes on."""

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield rows in a fixed order.

        Raises:
            DataUnavailable: If there is nothing to read.
        """
        ...
