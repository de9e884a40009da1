"""The groups and keys of the configuration that are plain settings, of no component: every app checks them first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf

from mva.apps.components import make, plain
from mva.checks import (
    FILLED,
    UNIQUE,
    Bounds,
    Count,
    NotNegative,
    Place,
    Rule,
    Seed,
    Text,
    check,
)
from mva.extrapolation.space import Bound
from mva.report.model_card import Form
from mva.training.spec import ExecutionOptions, Recipe

_NO_PATTERN = Rule(lambda names: not any("*" in name for name in names), ", none a pattern (it would let others in)")


class Checked:
    """Settings that check themselves."""

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)


@dataclass(frozen=True)
class Root(Checked):
    """Keys of the root: conf/config.yaml."""

    experiment_name: Text | int
    seed: Seed
    data_changed: Literal["refuse", "continue"]
    run: Place | None
    candidate: Text | None
    coefficients: Mapping[str, float]
    adapters: Mapping[str, Place]


@dataclass(frozen=True)
class Value(Checked):
    """The group `value`."""

    names: Annotated[Sequence[Text], FILLED, UNIQUE]


@dataclass(frozen=True)
class Penalty(Checked):
    """The group `penalty`; `view` is a component, or None."""

    strength: NotNegative
    baseline: bool
    view: Any = None


@dataclass(frozen=True)
class Trainer(Checked):
    """The group `trainer`."""

    recipe: Recipe
    execution: ExecutionOptions


@dataclass(frozen=True)
class Extrapolation(Checked):
    """The box `extrapolation`."""

    minimum: Bound
    maximum: Bound


@dataclass(frozen=True)
class Paths(Checked):
    """The group `paths`."""

    cache: Place
    outputs: Place


@dataclass(frozen=True)
class Export(Checked):
    """The keys of mva-export."""

    to: Place | None
    form: Form
    rank: Count | None


@dataclass(frozen=True)
class Report(Checked):
    """The group `report`."""

    forms: Sequence[Literal["svg", "pdf"]]
    mirror: bool


@dataclass(frozen=True)
class Select(Checked):
    """The group `select`; `analysis/limits.py` reads it."""

    most: Text | None
    limits: Mapping[str, float | Text]


@dataclass(frozen=True)
class Serve(Checked):
    """The group `serve`."""

    host: Text
    port: Annotated[int, Bounds(0, 65_535)]
    hosts: Annotated[Sequence[Text], _NO_PATTERN]
    max_new_tokens: Count | None
    open: bool


@dataclass(frozen=True)
class Tune(Checked):
    """The group `tune`; `space` is read by `tune_space`."""

    trials: Count
    at_once: Count
    sampler: Literal["tpe", "gp", "random"]
    startup: Count
    seed: Seed
    space: Mapping[str, Any]


@dataclass(frozen=True)
class Power(Checked):
    """The group `power`."""

    difference: Annotated[float, Bounds(0, above=True)] | None
    minutes: Annotated[float, Bounds(0, above=True)]


@dataclass(frozen=True)
class Judge(Checked):
    """The group `judge`; `by` is a component."""

    by: Mapping[str, Any]
    candidate: Text | None
    against: Place
    against_candidate: Text | None
    dry_run: bool
    price_per_million_tokens: NotNegative | None


@dataclass(frozen=True)
class Debug(Checked):
    """The keys `debug`."""

    traceback: bool


_GROUPS: Mapping[str, type] = {
    "paths": Paths,
    "export": Export,
    "report": Report,
    "select": Select,
    "serve": Serve,
    "tune": Tune,
    "judge": Judge,
    "power": Power,
    "debug": Debug,
}


def check_groups(config: DictConfig) -> None:
    """Check all plain settings, also those that other apps read.

    Raises:
        BadSetting: For the first that can't be, named by its key.
    """
    names = {field.name for field in fields(Root)}
    make(Root, plain(config, only=names), "")
    for key, kind in _GROUPS.items():
        group(kind, config, key)


def group(kind: Any, config: DictConfig, key: str) -> Any:
    """Make the settings class of the group at `key`, whose own parts are plain.

    Raises:
        BadSetting: If the group is missing, or a setting of it can't be.
    """
    return make(kind, plain(OmegaConf.select(config, key), key=key), key)
