"""Commands that are printed to be copied: whatever names and ids hold, each word arrives whole, nothing runs."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable

from mva.terminal import visible

_WORDS_OF_HYDRA = {"null", "true", "false"}


def override(key: str, text: str) -> str:
    """Say `key=text` in Hydra's grammar, so that the configuration holds exactly `text`.

    Quotes and what looks like a number, a list or an interpolation are quoted (https://hydra.cc, "Extended Override
    syntax"): inside quotes a backslash is one only before a quote or at the end.
    """
    if _is_plain(text):
        return f"{key}={text}"
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # OmegaConf's escape of an interpolation
    quoted = re.sub(r"(\\*)'", r"\1\1\\'", literal)
    quoted = re.sub(r"(\\+)\Z", r"\1\1", quoted)
    return f"{key}='{quoted}'"


def command_line(words: Iterable[str]) -> str:
    r"""Join words to a line that a shell splits into the same words.

    Words with control characters are written as bash, zsh and ksh read them, `$'\x1b'`: the line itself holds none, so
    that no terminal obeys it and none alters it.
    """
    if sys.platform == "win32":
        return subprocess.list2cmdline(list(words))
    return " ".join(map(_quoted, words))


def _is_plain(text: str) -> bool:
    if not re.fullmatch(r"[A-Za-z0-9_./:-]+", text) or text.lower() in _WORDS_OF_HYDRA:
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def _quoted(word: str) -> str:
    if visible(word, one_line=True) == word:
        return shlex.quote(word)
    return f"$'{''.join(map(_ansi_c, word))}'"


def _ansi_c(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if visible(letter, one_line=True) == letter:
        return letter
    is_byte = "\udc80" <= letter <= "\udcff"  # of a file's name that is no UTF-8
    errors = "surrogateescape" if is_byte else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", errors))
