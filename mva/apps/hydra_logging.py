"""What `hydra.job_logging` and `hydra.hydra_logging` may say.

Python's logging configuration imports, calls and opens what it names (`class`, `()`, `.`,
`ext://`, `cfg://`). Allowed is what Hydra's own configurations say: levels, formats, the terminal, the run's log file.
"""

import re
from collections.abc import Mapping
from typing import Any

from mva.apps.targets import ForbiddenTarget, check_target, plugin_packages

LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"
_TOP = {"version", "formatters", "handlers", "root", "loggers", "disable_existing_loggers"}
_FORMATTER = {"format", "datefmt", "style"}
_LOGGER = {"level", "handlers", "propagate"}
_HANDLERS = {
    "logging.StreamHandler": {"class", "level", "formatter", "stream"},
    "logging.FileHandler": {"class", "level", "formatter", "filename", "mode", "delay"},
    "logging.NullHandler": {"class", "level"},
}
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
_SCHEME = re.compile(r"\s*[a-z]+://")  # what logging.config converts into an object


def check_logging(node: object, *, where: str) -> None:
    """Refuse a logging configuration that names code or a file other than the run's log.

    Args:
        node: The node as it stands in the configuration, with its interpolations unresolved.
        where: Its key.

    Raises:
        ForbiddenTarget: If it says anything else than what the module's docstring allows.
    """
    if node is None:
        return
    top = _mapping(node, where, _TOP)
    for part, allowed in (("formatters", _FORMATTER), ("loggers", _LOGGER)):
        for name, entry in _entries(top, part, where):
            _check_entry(entry, f"{where}.{part}.{name}", allowed)
    if top.get("root") is not None:
        _check_entry(top["root"], f"{where}.root", _LOGGER)
    for name, entry in _entries(top, "handlers", where):
        _check_handler(entry, f"{where}.handlers.{name}")


def _entries(top: Mapping[Any, Any], part: str, where: str) -> list[tuple[Any, Any]]:
    entries = top.get(part)
    return [] if entries is None else list(_mapping(entries, f"{where}.{part}").items())


def _check_entry(entry: object, where: str, allowed: set[str]) -> None:
    if _is_plug_in(entry, where):
        return
    for key, setting in _mapping(entry, where, allowed).items():
        _check_plain(setting, f"{where}.{key}")


def _check_handler(entry: object, where: str) -> None:
    kind = _mapping(entry, where).get("class")
    if not isinstance(kind, str) or kind not in _HANDLERS:
        if _is_plug_in(entry, where):
            return
        raise ForbiddenTarget(
            f"{where} names the class {kind!r}: only {', '.join(_HANDLERS)} write logs, and those of MVA_PLUGINS."
        )
    for key, setting in _mapping(entry, where, _HANDLERS[kind]).items():
        if key == "stream" and setting in _STREAMS:
            continue
        if key == "filename" and setting == LOG_FILE:
            continue
        if key in ("stream", "filename"):
            raise ForbiddenTarget(
                f"{where}.{key} is {setting!r}: a log goes to {' or '.join(_STREAMS)}, or to the run's file {LOG_FILE}."
            )
        _check_plain(setting, f"{where}.{key}")


def _is_plug_in(entry: object, where: str) -> bool:
    """Say whether a class of MVA_PLUGINS is named; its settings are plain all the same."""
    packages = plugin_packages()
    named = [entry[key] for key in ("()", "class") if key in entry] if isinstance(entry, Mapping) else []
    if len(named) != 1 or str(named[0]).partition(".")[0] not in packages:
        return False
    check_target(str(named[0]), packages)
    assert isinstance(entry, Mapping)
    for key, setting in entry.items():
        _check_plain(setting, f"{where}.{key}")
    return True


def _check_plain(setting: object, where: str) -> None:
    """Accept numbers, texts that nothing interprets, and lists of them."""
    for part in setting if isinstance(setting, list) else [setting]:
        if isinstance(part, Mapping | list) or (isinstance(part, str) and ("${" in part or _SCHEME.match(part))):
            raise ForbiddenTarget(f"{where} is {part!r}: logging takes plain words and numbers alone.")


def _mapping(node: object, where: str, allowed: set[str] | None = None) -> Mapping[Any, Any]:
    if not isinstance(node, Mapping):
        raise ForbiddenTarget(f"{where} is {node!r}: write its settings out, as a mapping.")
    unknown = [key for key in node if allowed is not None and key not in allowed]
    if unknown:
        raise ForbiddenTarget(f"{where} has {unknown[0]!r}: only {', '.join(sorted(allowed or ()))} are allowed there.")
    return node
