"""The terminal's streams: no character may end a run, and none may command the terminal."""

import logging
import sys
import traceback
import warnings
from types import TracebackType
from typing import Any

from mva.terminal import visible

_format_warning = warnings.formatwarning


def guard_streams() -> None:
    """Make warnings, log records and tracebacks safe to show, as `mva.terminal.Console` is.

    What a stream's encoding lacks is written as an escape, instead of raising UnicodeEncodeError: an ASCII terminal, or
    a log that a scheduler opened so, then shows a report that is readable.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stream that something put in place may lack it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    warnings.formatwarning = _visible_warning
    logging.setLogRecordFactory(VisibleRecord)
    sys.excepthook = _show_exception


class VisibleRecord(logging.LogRecord):
    """A log record whose message and traceback hold visible characters alone, whatever handler writes them."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if isinstance(self.exc_info, tuple) and self.exc_info[0] is not None:
            lines = traceback.format_exception(*self.exc_info)
            self.exc_text = visible("".join(lines)).rstrip("\n")  # formatters take it as it is

    def getMessage(self) -> str:
        """Give the message with its arguments filled in."""
        return visible(super().getMessage())


def _visible_warning(*arguments: Any, **settings: Any) -> str:
    return visible(_format_warning(*arguments, **settings))


def _show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(visible("".join(traceback.format_exception(kind, error, trace))))
