"""What an app says of itself: its `--help`, what it makes of a misspelt word, and which keys it does not read."""

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mva.apps.errors import user_errors

# Top-level keys that not every app reads; given to another app they would be ignored in silence.
READERS = {
    "run": ("explore", "export", "judge", "power", "report", "rewards", "serve"),
    "candidate": ("export",),
    "coefficients": ("explore", "export"),
    "adapters": ("explore",),
    "export": ("export",),
    "judge": ("judge",),
    "power": ("power",),
    "select": ("run", "explore", "report"),
    "serve": ("serve",),
    "tune": ("tune",),
}


def words_of(task: Callable[..., object]) -> str:
    """Take an app's words from its module's docstring: what it does, and its `Examples:` block.

    `$` is doubled, since Hydra's help is a string.Template.
    """
    module = ast.parse(_file_of(task).read_text(encoding="utf-8"))
    return (ast.get_docstring(module) or "").replace("$", "$$")


def command_of(task: Callable[..., object]) -> str:
    """Name the app by its file, which also `python -m` leaves as it is."""
    return _file_of(task).stem


def _file_of(task: Callable[..., object]) -> Path:
    """Find the file of an app's task; what stands in for it until it starts (`apps/door.py`) names it."""
    return Path(vars(task).get("stands_for") or inspect.getfile(inspect.unwrap(task)))


def check_keys(task: Callable[..., object]) -> None:
    """Refuse overrides of keys that the app of `task` does not read; files (experiment=, debug=) may set anything.

    Raises:
        ValueError: If there is such an override; it names the apps that read the key.
    """
    command = command_of(task)
    apps = {reader for readers in READERS.values() for reader in readers} | {"run", "train"}
    for override in HydraConfig.get().overrides.task if command in apps else ():
        key = re.split(r"[.=@]", str(override).lstrip("+~"), maxsplit=1)[0]
        readers = READERS.get(key, (command,))
        if command not in readers:
            name = "mva" if command == "run" else f"mva-{command}"
            others = " and ".join(f"mva-{reader}" for reader in readers)
            raise ValueError(f"{override}: {name} does not read '{key}' (for {others}): leave it out.")


def suggestion(error: Exception, conf: Path, overrides: Sequence[str]) -> str:
    """Make "Did you mean ...?" of Hydra's refusal of a group's option, a group or a key; empty if nothing is close.

    A multirun looks keys up before it chooses the groups that it sweeps over: their keys must be swept over, too.
    """
    if option := re.search(r"Could not find '([^']+)/([^'/]+)'", str(error)):
        group, word = option.groups()
        near = _near(word, [path.stem for path in (conf / group).glob("*.yaml")])
        return _asked([f"{group}={name}" for name in near])
    if key := re.search(r"Could not override '([^'@]+)", str(error)):
        word = key[1]
        others = [one for one in overrides if one.lstrip("+~").partition("=")[0] != word and not one.startswith("-")]
        first = [one.partition(",")[0] for one in others]
        if first != others and word in _keys(_composed(conf, first)):
            given = next((one.partition("=")[2] for one in overrides if one.startswith(f"{word}=")), "...")
            return f"A multirun knows this key only once a group is chosen: write '{word}=choice({given})'."
        groups = [str(path.relative_to(conf)) for path in conf.iterdir() if path.is_dir() and path.name != "hydra"]
        return _asked(_near(word, [*groups, *_keys(_composed(conf, others))]))
    return ""


def _near(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(dict.fromkeys(known)), n=2, cutoff=0.6)


def _asked(names: Sequence[str]) -> str:
    return f"Did you mean {' or '.join(names)}?" if names else ""


def _composed(conf: Path, overrides: Sequence[str]) -> DictConfig:
    # With the other words first: which keys there are depends on the groups' options.
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        try:
            return compose("config", overrides=list(overrides))
        except user_errors():
            return compose("config")


def _keys(config: DictConfig) -> list[str]:
    tree: Any = OmegaConf.to_container(config)
    return [path for path in _paths(tree) if not path.startswith("tune.space.")]  # the same names once more


def _paths(tree: dict[Any, Any], above: str = "") -> Iterable[str]:
    for name, child in tree.items():
        yield f"{above}{name}"
        if isinstance(child, dict):
            yield from _paths(child, f"{above}{name}.")
