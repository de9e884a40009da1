"""The terminal's streams: no character may end a run."""

import sys


def show_any_character() -> None:
    """Write what a stream's encoding lacks as an escape, instead of raising UnicodeEncodeError.

    An ASCII terminal, or a log that a scheduler opened so, then shows a report that is readable.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stream that something put in place may lack it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
