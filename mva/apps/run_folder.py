"""A run's folder and the configuration that it belongs to."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mva.apps.stored_config import read_config
from mva.apps.targets import with_kinds
from mva.fingerprint import fingerprint
from mva.records import read_whole, write_text
from mva.runs.data_record import FolderInUse
from mva.runs.environment import environment
from mva.runs.run_folder import write_record

_EXECUTION_ONLY = (
    "paths",
    "tracking",
    "report",
    "select",
    "hydra",
    "tune",
    "serve",
    "judge",
    "power",
    "data_changed",
    "debug",
    "engine",
)
# Keys that there are no more, as they always were: so folders and jobs of earlier versions stay the same.
_DROPPED = {"evaluation": {"score_scaling": "none"}}
# Keys of later versions count only where they are not as everything was before them: so identities stay the same.
_ADDED: Mapping[str, Mapping[str, Any]] = {
    "evaluation": {"pessimism": 0, "samples": 1, "cluster": None, "by": "responses"}
}
# How a training is carried out changes no result beyond rounding: it counts as it was before there was a choice.
_CARRIED_OUT = {"precision": "32-true"}
_CARRIED_OUT_SINCE = ("tokens", "checkpoint_activations")
# How results are spoken of, and what rewards are checked on, changes none of them.
_SHOWN = {"evaluation": ("smallest_difference", "select_by", "reward_check", "reward_check_format")}
# Where a reward is computed changes none of its scores.
_PLACED = ("server",)
# What only scores by preference pairs depend on.
_OF_PAIRS = ("n_pairs", "pair_beta")
# Mappings whose names the user makes up: a name that is missing here is a difference, not a key of a later version.
_OPEN = ("values", "rewards", "coefficients", "adapters", "template_kwargs", "maximum", "minimum", "reference_point")


def open_run_folder(folder: Path, config: DictConfig) -> Path:
    """Make `folder` the home of the run of `config`, or go on with the same run.

    Raises:
        FolderInUse: If the folder holds another configuration's run; its results would be mixed with ours.
        BrokenConfig: If the configuration in it can't be read. An empty one, which a killed run of an earlier version
            may have left, counts as none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    stored = _stored(path)
    if stored is not None and not _same_run(stored, config):
        raise FolderInUse(
            f"{folder} holds a run of another configuration: choose another hydra.run.dir "
            "(of a multirun: hydra.sweep.dir)."
        )
    write_text(path, OmegaConf.to_yaml(config, resolve=True))
    write_record(folder, "environment", environment(int(config.seed)))
    return folder


def _stored(path: Path) -> dict[str, Any] | None:
    """Read the configuration of the run that the folder holds; None without any."""
    written = read_whole(path, mend="restore it, or delete it") if path.exists() else b""
    if not written.strip(b"\0 \r\n\t"):
        return None
    return read_config(written.decode(errors="replace"), where=str(path))


def identity(config: object) -> str:
    """Hash what a configuration says about the results; where they go and how they are shown plays no part.

    Nor does an empty mapping (`adapters: {}`), so that a folder written before there was such a key stays the same run.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return _identity(plain)


def _identity(plain: Mapping[Any, Any]) -> str:
    about = {name: node for name, node in plain.items() if name not in _EXECUTION_ONLY and node != {}}
    for group, dropped in _DROPPED.items():
        if isinstance(about.get(group), dict):
            about[group] = {**dropped, **about[group]}
    for group, shown in _SHOWN.items():
        about |= {group: _without(about[group], shown)} if group in about else {}
    for group, added in _ADDED.items():
        if isinstance(node_of_group := about.get(group), dict):
            at_default = [name for name, default in added.items() if node_of_group.get(name) == default]
            about[group] = _without(node_of_group, at_default)
    evaluation = about.get("evaluation")
    if isinstance(evaluation, dict) and "by" not in evaluation:
        about["evaluation"] = _without(evaluation, _OF_PAIRS)
    # Without pessimism an ensemble scores as its first member does.
    pessimistic = isinstance(evaluation, dict) and "pessimism" in evaluation
    left_out = _PLACED if pessimistic else (*_PLACED, "members")
    if "reward" in about:
        about["reward"] = _without(about["reward"], left_out)
    if isinstance(rewards := about.get("rewards"), dict):
        about["rewards"] = {value: _without(reward, left_out) for value, reward in rewards.items()}
    if isinstance(model := about.get("model"), dict):
        about["model"] = _without(model, ("attention",) if model.get("quantization") else ("attention", "quantization"))
    if isinstance(trainer := about.get("trainer"), dict) and isinstance(execution := trainer.get("execution"), dict):
        about["trainer"] = {**trainer, "execution": {**_without(execution, _CARRIED_OUT_SINCE), **_CARRIED_OUT}}
    return fingerprint(with_kinds(about))


def _without(node: Any, names: Collection[str]) -> Any:
    return {name: part for name, part in node.items() if name not in names} if isinstance(node, dict) else node


def _same_run(before: dict[str, Any], config: DictConfig) -> bool:
    """Compare what two configurations say about the results; keys that the stored one's version lacked don't count."""
    now: Any = OmegaConf.to_container(config, resolve=True)
    try:
        return _identity(_with_new_keys(before, now)) == _identity(now)
    except ValueError:
        return False  # what can't be hashed was no run's


def _with_new_keys(before: Any, now: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return before
    shared = {key: part if key in _OPEN else _with_new_keys(part, now.get(key)) for key, part in before.items()}
    # A run that did not know of such a mapping had nothing in it.
    new = {key: {} if key in _OPEN and isinstance(part, dict) else part for key, part in now.items()}
    return {**new, **shared}
