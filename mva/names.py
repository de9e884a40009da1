"""Names that data and records bring along: what a value may be called.

A name becomes a folder (`adapters/<name>`), a key of records and of the command line, a word on terminals and pages.
Names with dots, blanks, brackets or signs of any script are fine.
"""

import re
import unicodedata

MAXIMUM_BYTES = 100  # of a file system's 255: longer names stand beside it, such as drafts and locks

_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")


class BadName(ValueError):
    """A name that can't be a folder's name or a word in a line of text."""


def check_name(name: object, *, where: str) -> str:
    """Return `name` if it may name a value; `where` says in the error who gave it.

    Raises:
        BadName: If it is no text, is empty, `.` or `..`, holds a path separator, a control or an unprintable
            character, begins or ends with a blank, or is longer than MAXIMUM_BYTES in UTF-8.
    """
    reason = _reason(name)
    if reason is not None:
        shown = ascii(name)
        shown = shown if len(shown) <= MAXIMUM_BYTES else f"{shown[:MAXIMUM_BYTES]}..."
        raise BadName(f"{where} is {shown}, which can't be a name: {reason}.")
    assert isinstance(name, str)
    return name


def _reason(name: object) -> str | None:
    if not isinstance(name, str):
        return "it is no text, so put quotes around it"
    complaints = {
        "a folder is named after it, so give a word": name in ("", ".", ".."),
        "a folder is named after it, so leave out / and \\": bool(re.search(r"[/\\]", name)),
        "it holds control characters, so leave them out": any(unicodedata.category(sign) in _CONTROL for sign in name),
        "it begins or ends with a blank, so leave that out": name != name.strip(),
        f"it is longer than {MAXIMUM_BYTES} bytes, so shorten it": len(name.encode(errors="replace")) > MAXIMUM_BYTES,
    }
    return next((reason for reason, applies in complaints.items() if applies), None)
