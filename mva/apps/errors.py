"""Mistakes that users can mend, and one sentence for each: what is wrong, where, and how to mend it."""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from jinja2 import TemplateError
from omegaconf.errors import OmegaConfBaseException
from rich.errors import MarkupError
from safetensors import SafetensorError
from yaml import YAMLError

MENDABLE, BUG = 2, 1
"""Exit codes: of a mistake that the user can mend, and of one in the program."""

_USER_ERRORS = (
    ValueError,
    OSError,
    FloatingPointError,
    MemoryError,
    RecursionError,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    SafetensorError,
    TemplateError,
    MarkupError,
)
REPORT = "This is a mistake in mva, not yours: please report it with the lines above and the command."
_DEEP = r"[\[{(]{50}"
_DIGITS = 4300  # of a number that Python reads
_MENDS = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file: choose another place",
    errno.EISDIR: "it is a folder: name a file",
    errno.EEXIST: "it is there already: choose another name",
    errno.EACCES: "choose a place that you may read and write, or change its rights",
    errno.EPERM: "choose a place that you may read and write, or change its rights",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some of your quota, or choose another disk",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another disk",
    errno.ENAMETOOLONG: "choose a shorter name",
}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def imported(module: str, name: str) -> tuple[type[BaseException], ...]:
    """Give a library's exception for `except` or `isinstance`; nothing, and no time, where the library is not imported.

    A command that only composes its configuration never imports torch, and what is not imported raises nothing.
    """
    kind = getattr(sys.modules.get(module), name, None)
    return () if kind is None else (kind,)


def user_errors() -> tuple[type[BaseException], ...]:
    """List the exceptions that are mistakes of the user, with those of the libraries that are imported by now."""
    of_libraries = [imported(module, name) for module, name, _ in _OF_LIBRARIES]
    return (*_USER_ERRORS, *chain.from_iterable(of_libraries))


def wants_traceback(words: Sequence[str]) -> bool:
    """Say whether the traceback of a user's mistake is asked for: by debug.traceback=true, or MVA_DEBUG."""
    asked = any(re.fullmatch(r"\+*debug\.traceback=(true|yes|on)", word, re.IGNORECASE) for word in words)
    return asked or bool(os.environ.get("MVA_DEBUG"))


def sentence(error: BaseException, words: Sequence[str] = (), conf: Path | None = None) -> str:
    """Say what a mistake is.

    Args:
        error: One of `user_errors()`; any other is said in its own words.
        words: The command line, which is searched for what a library's error leaves out.
        conf: The folder of the configuration's groups.
    """
    composing = "Config group override must be" in str(error) or isinstance(error, ConfigCompositionException)
    if composing and conf is not None and (misused := _of_group(words, conf)):
        return misused
    for kind, say in _SENTENCES:
        if isinstance(error, kind):
            return say(error, words)
    for module, name, say in _OF_LIBRARIES:
        if isinstance(error, imported(module, name)):
            return say(error, words)
    if "integer string conversion" in str(error):
        word = _word_with(rf"\d{{{_DIGITS}}}", words)
        return f"{word} has a number of more than {_DIGITS} digits: choose one of fewer."
    return str(error) or type(error).__name__


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _cut(word: str) -> str:
    return word if len(word) <= 80 else f"{word[:80]}..."


def _word_with(pattern: str, words: Sequence[str], otherwise: str = "A file that was read") -> str:
    return next((word.partition("=")[0] for word in words if re.search(pattern, word)), otherwise)


def _of_parsing(error: Any, _words: Sequence[str]) -> str:
    lines = str(error).splitlines()
    reason = next((line for line in lines if not line.startswith(("Error parsing", "See http"))), "not Hydra's grammar")
    return (
        f"'{_cut(str(error.override))}' can't be read ({_cut(reason)}): write key=value, and put a value with signs of "
        "Hydra's grammar in quotes within quotes, as in key=\"'a, b'\"."
    )


def _of_missing(error: Any, _words: Sequence[str]) -> str:
    text = str(error)
    named = re.search(r"Could not find '([^']+)'", text)
    options = re.search(r"Available options in '[^']*':\n((?:\t.*\n?)+?)(?=Config search path|$)", text)
    if named is None or options is None:
        return (
            f"{_one_line(text.partition('Config search path')[0]).rstrip('.')}: check the name (--help lists groups)."
        )
    return f"Could not find '{named[1]}': choose one of {', '.join(options[1].split())}."


def _of_composition(error: Any, words: Sequence[str]) -> str:
    text, cause = str(error), _one_line(str(error.__cause__ or "").partition("\n")[0])
    if key := re.match(r"Could not override '([^']+)'", text):
        word = next((word for word in words if word.startswith(f"{key[1]}=")), f"{key[1]}=...")
        return f"Could not override '{key[1]}' ({cause}): mend the name, or add a key of your own by +{_cut(word)}."
    if value := re.match(r"Ambiguous value for argument '(.+)'", text):
        name, _, several = value[1].partition("=")
        return f"{name} is {several}, which is several values: choose one, [{several}] for a list, or a sweep by -m."
    if "raised while composing config" in text:
        return f"{_one_line(text.partition('full_key')[0])}: mend that file."
    return f"{_one_line(text)} ({cause}): choose another value." if cause else _one_line(text)


def _of_omegaconf(error: Any, words: Sequence[str]) -> str:
    text = str(error) or type(error).__name__
    named = re.search(r"full_key: (\S+)", text)
    key = named[1] if named else _word_with(r"\$\{", words, otherwise="A key of the configuration")
    return f"{_cut(key)}: {text.splitlines()[0]}: mend it on the command line, or in the file that sets it."


def _of_system(error: Any, words: Sequence[str]) -> str:
    if error.errno is None or (error.filename is None and error.errno not in _NO_ROOM):
        return str(error) or type(error).__name__
    where = error.filename or f"A file in {_word_value('hydra.run.dir', words) or 'the run folder'} or the cache"
    return f"{where}: {error.strerror}: {_MENDS.get(error.errno, 'check the path and its disk')}."


def _of_yaml(error: Any, _words: Sequence[str]) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else "A file"
    return f"{where} is no YAML ({getattr(error, 'problem', None) or _one_line(error)}): mend that line."


def _of_depth(_error: Any, words: Sequence[str]) -> str:
    return f"{_word_with(_DEEP, words)} is nested more deeply than can be read: choose something flatter."


def _of_weights(error: Any, _words: Sequence[str]) -> str:
    return f"A file of weights is damaged ({_one_line(error)}): fetch or write it again."


def _of_template(error: Any, _words: Sequence[str]) -> str:
    return f"The chat template fails ({_one_line(error)}): mend it, or model.template_kwargs."


def _of_markup(error: Any, _words: Sequence[str]) -> str:
    return f"A name or text can't be shown ({_one_line(error)}): leave square brackets out of names."


def _of_lightning(error: Any, _words: Sequence[str]) -> str:
    return f"Lightning refuses trainer.execution ({_one_line(error)}): choose other settings there."


def _of_memory(error: Any, _words: Sequence[str]) -> str:
    return (
        f"Memory is too small ({_cut(_one_line(error)) or 'no more is given'}): lower trainer.recipe.batch_size, "
        "evaluation.generation.batch_size or reward.batch_size."
    )


def _of_encoding(error: Any, _words: Sequence[str]) -> str:
    return f"A file that was read is no UTF-8 ({_one_line(error)}): save it as UTF-8."


def _word_value(key: str, words: Sequence[str]) -> str | None:
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), None)


def _of_group(words: Sequence[str], conf: Path) -> str | None:
    """Say which word chooses something of a group that is no name of an option; None if there is no such word."""
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        folder = conf / (key or "no key")
        if key and folder.is_dir() and not re.fullmatch(r"(?!(null|true|false)$)[A-Za-z_][\w/,.-]*", value):
            options = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
            return f"{key} is {_cut(value)}, and names an option of a group: choose one of {options}."
    return None


_Say = Callable[[Any, Sequence[str]], str]

_SENTENCES: tuple[tuple[type[BaseException], _Say], ...] = (
    (OverrideParseException, _of_parsing),
    (MissingConfigException, _of_missing),
    (ConfigCompositionException, _of_composition),
    (HydraException, lambda error, _words: _one_line(error)),
    (OmegaConfBaseException, _of_omegaconf),
    (YAMLError, _of_yaml),
    (RecursionError, _of_depth),
    (SafetensorError, _of_weights),
    (TemplateError, _of_template),
    (MarkupError, _of_markup),
    (MemoryError, _of_memory),
    (OSError, _of_system),
    (UnicodeDecodeError, _of_encoding),
)

_OF_LIBRARIES: tuple[tuple[str, str, _Say], ...] = (
    ("lightning_fabric.utilities.exceptions", "MisconfigurationException", _of_lightning),
    ("torch", "OutOfMemoryError", _of_memory),
    ("mva.engines.base", "EngineFailure", lambda error, _words: str(error)),
)
