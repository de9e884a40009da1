"""The terminal: whatever data, models or file names hold, no character of theirs commands it or deceives its reader."""

import re
from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# Control characters (C0, DEL, C1), lone surrogates, and what is invisible or turns the order of the text around it:
# bidirectional marks, embeddings, overrides and isolates, zero-width spaces and operators, line separators, tags.
_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
# Joiners make emoji and the letters of some scripts; beside ASCII they only make two equal-looking words different.
_JOINERS = "(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
_PATTERN = re.compile(f"[{_UNSAFE}]|{_JOINERS}")
_PATTERN_OF_A_LINE = re.compile(f"[\t\n{_UNSAFE}]|{_JOINERS}")


def visible(text: str, *, one_line: bool = False) -> str:
    r"""Show control characters and invisible ones as escapes (`\x1b`, `\u202e`); with `one_line` also `\t` and `\n`."""
    return (_PATTERN_OF_A_LINE if one_line else _PATTERN).sub(_escape, text)


def visible_data(data: Any) -> Any:
    """Do the same with every text in plain data (mappings, lists and tuples), keys included."""
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, dict):
        return {visible_data(key): visible_data(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [visible_data(item) for item in data]
    return data


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


class Console(rich.console.Console):
    """Rich's console, which writes nothing but visible characters and its own commands (colours, cursor)."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make a text of markup: escaped before it is laid out, so that tables stay straight."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Lay out anything; what reaches the terminal passes here, whoever made it."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
