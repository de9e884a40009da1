"""A search's record: which trials there are and from where their hypervolumes are measured (tune.json)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json

from mva.analysis.sweep_view import sweep_view
from mva.analysis.trials import Result, Trial, best_of, results_of, trial_records
from mva.apps.tune_space import Setting, holds, override
from mva.apps.tune_study import Proposer, Told
from mva.records import SCHEMA_VERSION, write_json
from mva.runs.data_record import FolderInUse
from mva.runs.sweep_folder import OUTCOME, SEARCH, read_outcome, read_search


@dataclass
class Search:
    """The trials so far. What came of them is read from their folders; here stands only what was asked for.

    The reference point of all trials is `evaluation.reference_point` where that is given; else that of the first trial
    that finishes, which is kept: hypervolumes from different points would not compare.
    """

    folder: Path
    configuration: str
    proposer: Proposer
    trials: list[Trial] = field(default_factory=list)
    results: dict[int, Result] = field(default_factory=dict)
    reference_point: dict[str, float] | None = None
    reference_point_rule: str | None = None
    _attempted: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, folder: Path, *, configuration: str, proposer: Proposer) -> "Search":
        """Begin a search, or go on with the one in `folder`; its failed trials are forgotten and tried again.

        Raises:
            FolderInUse: If the folder holds a search of another configuration or of another space.
        """
        search = cls(folder, configuration, proposer)
        record = read_search(folder)
        if record is None:
            return search
        if (record["configuration"], record["space"]) != (configuration, search._space()):
            raise FolderInUse(
                f"{folder} holds a search of another configuration or space: choose another hydra.run.dir."
            )
        names = Trial.__dataclass_fields__
        search.trials = [Trial(**{name: trial[name] for name in names}) for trial in record["trials"]]
        search.reference_point = record["reference_point"]
        search.reference_point_rule = record["reference_point_rule"]
        for trial in search.trials:
            outcome = read_outcome(folder / trial.folder)
            if outcome is not None and outcome.state == "failed":
                (folder / trial.folder / OUTCOME).unlink()
        search.learn()
        return search

    def next(self, limit: int, at_once: int, configured: Mapping[str, Setting]) -> list[Trial]:
        """Name the trials to run now: first those that were begun, then new ones; none when there are `limit`.

        The first of all is the configuration as it stands, if the space holds it: what the others have to beat.
        """
        begun = [t for t in self.trials if self.results[t.number].status != "finished"]
        batch = [trial for trial in begun if trial.number not in self._attempted][:at_once]
        wanted = min(at_once - len(batch), limit - len(self.trials))
        if not batch and wanted > 0:
            batch = self._new(wanted, configured)
            self.trials += batch
            self.results |= {trial.number: Result() for trial in batch}
            self.write()
        self._attempted |= {trial.number for trial in batch}
        return batch

    def learn(self) -> None:
        """Read what came of the trials; fix the reference point with the first front.

        Raises:
            ValueError: If trials were scored by different rewards: their hypervolumes don't compare.
        """
        view = sweep_view(self.folder) if any(self.folder.glob(f"*/{OUTCOME}")) else None
        if view is not None and len(view.fronts) > 1:
            one, other = (front.jobs[0].job.name for front in view.fronts[:2])
            raise ValueError(
                f"The trials {one} and {other} were scored by different rewards: their hypervolumes don't compare. "
                "Leave out of tune.space what the rewards are made from (seed, data, values, model), and take a "
                "reward that does not depend on the vectors."
            )
        if view is not None and view.fronts and self.reference_point is None:
            first = view.fronts[0].jobs[0].job
            assert first.run is not None
            assert first.run.front is not None
            front = first.run.front
            self.reference_point = dict(front.reference_point)
            rule = front.reference_point_rule
            self.reference_point_rule = rule if rule == "explicit" else f"of trial {first.outcome.number}, {rule}"
            self.write()
            view = sweep_view(self.folder)
        self.results = results_of(self.trials, view)
        self.write()

    def told(self) -> list[Told]:
        """List the trials that ended, for the sampler."""
        ended = [(trial, self.results[trial.number]) for trial in self.trials]
        return [Told(t.settings, r.hypervolume) for t, r in ended if r.status in ("finished", "failed")]

    def write(self, *, command: str | None = None) -> None:
        """Write tune.json."""
        best = best_of(self.trials, self.results)
        record = {
            "schema_version": SCHEMA_VERSION,
            "configuration": self.configuration,
            "space": self._space(),
            "sampler": self.proposer.sampler,
            "reference_point": self.reference_point,
            "reference_point_rule": self.reference_point_rule,
            "trials": trial_records(self.trials, self.results),
            "best": None if best is None else {**asdict(best), "command": command},
        }
        write_json(self.folder / SEARCH, record)

    def _new(self, count: int, configured: Mapping[str, Setting]) -> list[Trial]:
        space = self.proposer.space
        first = not self.trials and all(holds(space[key], setting) for key, setting in configured.items())
        known = [trial.settings for trial in self.trials]
        settings = [dict(configured)] if first else []
        settings += self.proposer.propose(count - len(settings), self.told(), [*known, *settings])
        numbered = enumerate(settings, start=len(self.trials))
        return [_named(number, one, configured=first and number == 0) for number, one in numbered]

    def _space(self) -> dict[str, Any]:
        return {key: json.loads(distribution_to_json(one)) for key, one in self.proposer.space.items()}


def _named(number: int, settings: Mapping[str, Setting], *, configured: bool) -> Trial:
    overrides: Sequence[str] = [override(key, setting) for key, setting in settings.items()]
    readable = re.sub(r"[^\w.=,+-]", "_", ",".join(overrides))[:120]
    return Trial(number, f"{number:03d}_{readable}", settings, overrides, configured)
