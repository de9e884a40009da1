"""Which trial next: Optuna's samplers, asked from a study that is rebuilt from the trials' results each time.

So nothing of Optuna's has to survive a kill: the record of trials and the jobs' folders are all there is, and as every
proposal has a seed of its own, a search that was stopped proposes what it would have proposed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from mva.apps.tune_space import Setting, Space, rounded
from mva.seeding import derive_seed

_ATTEMPTS = 30


@dataclass(frozen=True)
class Told:
    """What came of a trial: its hypervolume, or None if it failed."""

    settings: Mapping[str, Setting]
    hypervolume: float | None


@dataclass(frozen=True)
class Proposer:
    """`sampler` proposes settings within `space`, after `startup` random trials; see conf/tune/default.yaml."""

    space: Space
    sampler: Literal["tpe", "gp", "random"]
    startup: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse an unknown sampler.

        Raises:
            ValueError: If `sampler` is none of tpe, gp, random, or `startup` is below 1.
        """
        if self.sampler not in ("tpe", "gp", "random"):
            raise ValueError(f"tune.sampler is '{self.sampler}': choose tpe, gp or random.")
        if self.startup < 1:
            raise ValueError(f"tune.startup is {self.startup}: it must be at least 1.")

    def propose(
        self, count: int, told: Sequence[Told], known: Sequence[Mapping[str, Setting]]
    ) -> list[dict[str, Setting]]:
        """Propose up to `count` new settings, fewer where the space holds no more.

        Args:
            count: How many; all of one call count as running, so that they don't crowd.
            told: The trials that ended.
            known: The settings of all trials so far: none is proposed again.
        """
        study = _study(self.space, told)
        taken, new = list(known), []
        for _ in range(count):
            for attempt in range(_ATTEMPTS):
                study.sampler = self._sampler(len(taken), attempt)
                settings = rounded(study.ask(dict(self.space)).params, self.space)
                if settings not in taken:
                    taken.append(settings)
                    new.append(settings)
                    break
        return new

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        seed = derive_seed(self.seed, "tune", number, attempt) % 2**32
        if attempt or self.sampler == "random":  # what promises most is known already: look elsewhere
            return RandomSampler(seed=seed)
        if self.sampler == "gp":
            return GPSampler(seed=seed, n_startup_trials=self.startup)
        return TPESampler(seed=seed, n_startup_trials=self.startup)


def write_study(path: Path, space: Space, told: Sequence[Told]) -> None:
    """Write the trials as an Optuna study, for `optuna-dashboard sqlite:///PATH` and Optuna's own plots."""
    path.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    try:
        study = optuna.create_study(storage=storage, study_name="mva-tune", direction="maximize")
        study.add_trials([_trial(space, one) for one in told])
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _study(space: Space, told: Sequence[Told]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or each study announces itself
    study = optuna.create_study(direction="maximize")
    study.add_trials([_trial(space, one) for one in told])
    return study


def _trial(space: Space, one: Told) -> FrozenTrial:
    state = TrialState.FAIL if one.hypervolume is None else TrialState.COMPLETE
    return create_trial(state=state, value=one.hypervolume, params=dict(one.settings), distributions=dict(space))
