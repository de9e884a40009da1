"""Hydra's own nodes (callbacks, launcher, sweeper, logging) name no code but Hydra's and ours, wherever they come from.

Hydra instantiates these nodes itself, before any task starts. Every configuration that it composes, of a run and of
each job of a sweep, therefore passes through `GuardedLoader`. A rule that depends on who says something (shell lines of
a cluster's launcher, environment variables) trusts the command line alone: a configuration file may be a stranger's.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra._internal.hydra as composing
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from mva.apps.hydra_logging import check_logging
from mva.apps.job_folder import inside_sweep
from mva.apps.targets import PLUGINS, ForbiddenTarget, check_target, plugin_packages, targets_in
from mva.folders import check_folder
from mva.names import check_name

Given = Mapping[str, object]

CALLBACKS: Mapping[str, Given] = {"mva.apps.sweep.SweepReport": {"_target_": "mva.apps.sweep.SweepReport"}}
SWEEPERS = {"hydra._internal.core_plugins.basic_sweeper.BasicSweeper": "basic"}
_PLUGINS = "hydra_plugins.hydra_"
# By target: the name of its settings in Hydra's store.
LAUNCHERS = {
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": "basic",
    f"{_PLUGINS}joblib_launcher.joblib_launcher.JoblibLauncher": "joblib",
    f"{_PLUGINS}submitit_launcher.submitit_launcher.LocalLauncher": "submitit_local",
    f"{_PLUGINS}submitit_launcher.submitit_launcher.SlurmLauncher": "submitit_slurm",
}
# Ours, with their settings: Hydra's store has none of them.
_OURS: Mapping[str, Given] = {
    "hydra_plugins.mva_launchers.gpu_slots.GpuSlots": {
        "_target_": "hydra_plugins.mva_launchers.gpu_slots.GpuSlots",
        "slots": None,
        "threads": None,
    }
}
_PLACES = ("submitit_folder", "temp_folder")
_JOB_WORDS = ("hydra.mode", "hydra.sweep.dir", "hydra.sweep.subdir")
_PLAIN = re.compile(r"[\w.:,+-]{0,200}")
_SEARCHED_PACKAGES = frozenset({"hydra", "hydra_plugins", "mva"})


@contextmanager
def guarded(words: Sequence[str]) -> Iterator[None]:
    """Check all that Hydra composes inside the `with`; `words` is the command line.

    Raises:
        ForbiddenTarget: If the command line asks Hydra to unpickle a job.
    """
    if get_args_parser().parse_known_args(words)[0].experimental_rerun is not None:
        raise ForbiddenTarget("--experimental-rerun runs what a pickle says: start the command of that run instead.")
    composing.ConfigLoaderImpl = GuardedLoader
    try:
        yield
    finally:
        composing.ConfigLoaderImpl = ConfigLoaderImpl


class GuardedLoader(ConfigLoaderImpl):
    """Hydra's loader, which refuses a configuration whose `hydra` node names foreign code or leaves its folder."""

    def __init__(self, config_search_path: Any) -> None:
        for search_path in config_search_path.get_path():
            _check_place(search_path.path)
        super().__init__(config_search_path=config_search_path)

    def load_configuration(self, config_name: Any, overrides: list[str], *args: Any, **kwargs: Any) -> DictConfig:
        """Compose and check.

        Raises:
            ForbiddenTarget: If the `hydra` node names code that is neither shipped nor of MVA_PLUGINS.
            BadName: If the job's or the output subfolder's name leaves the run's folder.
            UnsafeFolder: If something in the named folder leads out of it: Hydra writes there before any task starts.
        """
        config: DictConfig = super().load_configuration(config_name, overrides, *args, **kwargs)
        parsed = OverridesParser.create().parse_overrides(overrides)
        given = [override for override in parsed if override.is_hydra_override()]
        words: Any = OmegaConf.to_container(config.hydra.overrides)
        if sorted([*words["hydra"], *words["task"]]) != sorted(override.input_line for override in parsed):
            raise ForbiddenTarget("hydra.overrides is what the command line says: leave it out of the configuration.")
        check_hydra(config, {override.key_or_group: override.value() for override in given})
        sweep: Any = OmegaConf.to_container(config.hydra.sweep)
        config.hydra.sweep.subdir = inside_sweep(sweep["subdir"])
        alone: Any = OmegaConf.to_container(config.hydra.run)
        for home in (sweep["dir"], alone["dir"]):
            if "${" not in str(home):  # else it is named after the time, and new
                check_folder(Path(str(home)))
        return config

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose a job, which stays in the sweep's folder and cannot add Hydra nodes.

        Raises:
            ForbiddenTarget: If the sweep's parameters set a key of Hydra's.
        """
        home = str(master_config.hydra.sweep.dir)
        for override in OverridesParser.create().parse_overrides(sweep_overrides):
            key = override.key_or_group
            if override.is_hydra_override() and not (key in _JOB_WORDS and override.package is None):
                raise ForbiddenTarget(
                    f"'{override.input_line}' is a parameter of the sweep: Hydra's keys can't be swept."
                )
        config: DictConfig = super().load_sweep_config(master_config, sweep_overrides)
        config.hydra.sweep.dir = home
        return config

    def _process_config_searchpath(self, config_name: Any, parsed_overrides: Any, repo: Any) -> None:
        loaded = None if config_name is None else repo.load_config(config_path=config_name)
        listed = loaded and OmegaConf.select(loaded.config, "hydra.searchpath")
        given = [word.value() for word in parsed_overrides if word.get_key_element().lstrip("+") == "hydra.searchpath"]
        for paths in (listed, *given):
            for path in paths if isinstance(paths, Sequence) and not isinstance(paths, str) else ():
                _check_place(path)
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


def check_hydra(config: DictConfig, given: Given) -> None:
    """Check the `hydra` node of a composed configuration; `given` are Hydra's keys on the command line.

    Raises:
        ForbiddenTarget: If it names code that is neither shipped nor of MVA_PLUGINS, or a file gives what the command
            line alone may.
        BadName: If the job's or the output subfolder's name leaves the run's folder.
    """
    tree: Any = OmegaConf.to_container(config)
    node = tree["hydra"]
    for name in ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging", "job"):
        _check_mapping(node[name], f"hydra.{name}")
    for name, callback in node["callbacks"].items():
        _check_instantiated(config, f"hydra.callbacks.{name}", callback, CALLBACKS, given)
    _check_instantiated(config, "hydra.launcher", node["launcher"], _launchers(), given)
    _check_instantiated(config, "hydra.sweeper", node["sweeper"], _settings("sweeper", SWEEPERS), given)
    for name in ("job_logging", "hydra_logging"):
        check_logging(node[name], where=f"hydra.{name}")
    _check_environment(node["job"], given)
    check_name(_literal(node["job"]["name"], "hydra.job.name"), where="hydra.job.name")
    if node["output_subdir"] is not None:
        check_name(_literal(node["output_subdir"], "hydra.output_subdir"), where="hydra.output_subdir")


def _check_instantiated(config: DictConfig, key: str, node: object, shipped: Mapping[str, Given], given: Given) -> None:
    """Check a node that Hydra instantiates; `shipped` has the default settings of the targets that may stand there."""
    tree = _check_mapping(node, key)
    target, packages = tree.get("_target_"), plugin_packages()
    if isinstance(target, str) and target in shipped:
        _check_settings(config, key, tree, shipped[target], given)
        return
    if str(target).partition(".")[0] not in packages:
        raise ForbiddenTarget(
            f"{key} names '{target}': Hydra may only run {', '.join(shipped)}; for a plug-in of your own set {PLUGINS} "
            f"to its package."
        )
    resolved: Any = OmegaConf.to_container(OmegaConf.select(config, key), resolve=True)
    for named in (*targets_in(tree), *targets_in(resolved)):
        check_target(named, packages)


def _check_settings(config: DictConfig, key: str, node: Given, defaults: Given, given: Given) -> None:
    """Take numbers and plain words from anywhere; what a shell or a file system reads, from the command line alone."""
    for name, setting in node.items():
        where = f"{key}.{name}"
        if name not in defaults:
            raise ForbiddenTarget(f"{where} is no setting of {node['_target_']}: it has {', '.join(defaults)}.")
        if setting == defaults[name]:
            continue
        if where == "hydra.sweeper.params":
            _check_parameters(setting, OmegaConf.select(config, where))
            continue
        if isinstance(setting, str) and "${" in setting:
            setting = OmegaConf.select(config, where)
        elif given.get(where) == setting and not any(targets_in(setting)) and "${" not in str(setting):
            continue
        if not _is_plain(setting) or (isinstance(setting, str) and name in _PLACES):
            raise ForbiddenTarget(f"{where} is {setting!r} in a configuration file: give it on the command line.")


def _check_parameters(raw: object, resolved: Mapping[str, object]) -> None:
    for name in _check_mapping(raw, "hydra.sweeper.params"):
        if name == "_target_" or not isinstance(resolved[name], str | int | float | None):
            raise ForbiddenTarget(f"hydra.sweeper.params.{name} is {resolved[name]!r}: write its choices as one text.")


def _is_plain(setting: object) -> bool:
    return (
        setting is None
        or isinstance(setting, int | float)
        or bool(isinstance(setting, str) and _PLAIN.fullmatch(setting))
    )


def _check_environment(job: Given, given: Given) -> None:
    """Refuse environment variables that a configuration file sets: they decide which code runs (MVA_PLUGINS, PATH)."""
    stated: set[object] = set()
    for key, setting in given.items():
        if key.startswith("hydra.job.env_set."):
            stated.add(key.removeprefix("hydra.job.env_set."))
        elif key in ("hydra.job.env_set", "hydra.job.env_copy") and isinstance(setting, Mapping | list):
            stated |= set(setting)
    for name, setting in _check_mapping(job["env_set"], "hydra.job.env_set").items():
        if name not in stated:
            raise ForbiddenTarget(f"hydra.job.env_set has {name} from a configuration file: set it in the shell.")
        if name == PLUGINS and setting != os.environ.get(PLUGINS):
            raise ForbiddenTarget(f"hydra.job.env_set has {PLUGINS}: set it in the shell.")


def _launchers() -> dict[str, Given]:
    return {**_settings("launcher", LAUNCHERS), **_OURS}


def _settings(group: str, names: Mapping[str, str]) -> dict[str, Given]:
    """Look up the default settings of the installed plug-ins among `names`."""
    store, settings = ConfigStore.instance(), dict[str, Given]()
    for target, name in names.items():
        if f"{name}.yaml" in store.list(f"hydra/{group}"):
            defaults: Any = OmegaConf.to_container(store.load(f"hydra/{group}/{name}.yaml").node)
            settings[target] = defaults
    return settings


def _check_mapping(node: object, key: str) -> Given:
    if not isinstance(node, Mapping):
        raise ForbiddenTarget(f"{key} is {node!r}: write its settings out, as a mapping.")
    return node


def _literal(setting: object, key: str) -> object:
    if "${" in str(setting):
        raise ForbiddenTarget(f"{key} is {setting!r}: it names files, so write it out.")
    return setting


def _check_place(place: object) -> None:
    """Refuse to look for configurations inside a package that would be imported for it."""
    scheme, _, path = str(place).rpartition("://")
    if scheme == "pkg" and re.split(r"[./]", path)[0] not in _SEARCHED_PACKAGES | plugin_packages():
        raise ForbiddenTarget(
            f"The search path names {place}, which would import that package: give a folder, or set {PLUGINS}."
        )
