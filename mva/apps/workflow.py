"""A run as its folder sees it: each step's results are written down, tracked and shown."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mva.analysis.front_view import front_view
from mva.analysis.limits import ANY_CANDIDATE, Selection, choose
from mva.apps import assemble
from mva.apps.folder_lock import writing
from mva.apps.reward_sources import read_sources, rewards_record, run_checks, taken_sources
from mva.apps.run_folder import open_run_folder
from mva.data.preference import ValueData
from mva.data.prompts import check_clusters
from mva.data.reasoning import thought_marks
from mva.data.tokenized import examples, renderable
from mva.diagnostics import Diagnostics, preservation
from mva.evaluation.ledger import Ledger
from mva.experiment import Experiment, Session, open_session
from mva.models.adapter_files import load_vectors, save_adapter
from mva.models.backbone import Backbone
from mva.models.sources.published import published
from mva.models.value_vector import ValueVector
from mva.names import check_name
from mva.pareto.front import Front
from mva.pipeline import (
    filter_pairs,
    find_front,
    find_front_by_pairs,
    make_evaluator,
    make_rewards,
    train_independently,
    train_vectors,
)
from mva.preflight import check_session
from mva.records import whole_folder
from mva.report.page import write_report
from mva.report.publish import publish
from mva.report.tables import brief, summary
from mva.rewards.base import Reward
from mva.runs.data_record import check_data, data_fingerprint
from mva.runs.run_folder import PAIRS, read_run, write_record
from mva.seeding import seed_everything
from mva.stages import Stages
from mva.tracking.base import RunIdentity, Tracker
from mva.tracking.composite import Composite
from mva.tracking.local import Local

JobType = Literal["run", "train", "explore"]


@dataclass(frozen=True)
class Workflow:
    """The steps of a run that is under way in `folder`."""

    session: Session
    folder: Path
    tracker: Tracker
    figure_forms: Sequence[str]
    selection: Selection = ANY_CANDIDATE

    def train(self) -> list[ValueVector]:
        """Train the vectors (or find them in the store); write adapters/ and what they have to do with each other."""
        session = self._filtered()
        with session.stages.stage("Train value vectors"):
            vectors = train_vectors(session, log=self.tracker.log)
            self.save(vectors, self.folder / "adapters")
        self._write(
            "training",
            {
                "pairs": {value: len(data.train) for value, data in session.tokenized.items()},
                "vectors": {v.value: _training(v) for v in vectors},
            },
        )
        if {vector.value for vector in vectors} == set(session.experiment.values):
            replace(self, session=session)._hold_against_independent_training(vectors)
        self.tracker.artifact("value-vectors", "model", [self.folder / "adapters"])
        return vectors

    def _filtered(self) -> Session:
        if self.session.experiment.filter is None:
            return self.session
        with self.session.stages.stage("Filter the training pairs"):
            return filter_pairs(self.session)

    def _hold_against_independent_training(self, vectors: Sequence[ValueVector]) -> None:
        """Measure dependence, beside the same values' vectors without a penalty if the baseline is wanted."""
        independent = vectors
        if self.session.experiment.baseline:
            with self.session.stages.stage("Train the same values without the penalty"):
                independent = train_independently(self.session, vectors)
                self.save(independent, self.folder / "independent" / "adapters")
        with self.session.stages.stage("Measure dependence"):
            diagnostics = Diagnostics(self.session, vectors, independent)
            self._write("dependence", diagnostics.dependence())
            self._write("interference", diagnostics.interference_map())

    def explore(self, vectors: Sequence[ValueVector]) -> Front:
        """Make the rewards (unless pairs alone score), find the front, write the report; returns the front."""
        by = self.session.experiment.evaluation.by
        if by != "responses":
            self._write("pairs", self.session.pair_record())
        rewards = self._rewards(vectors) if by != "pairs" else {}
        front = find_front(self.session, vectors, rewards, Ledger(self.folder))
        self._write("front", front.to_json())
        if by == "both":
            self._score_by_pairs(vectors)
        if (self.folder / "independent").is_dir():
            with self.session.stages.stage("Compare with training without the penalty"):
                self._preservation(vectors, rewards)
        with self.session.stages.stage("Write the report"):
            write_report(self.folder, forms=self.figure_forms, selection=self.selection)
        self._finish()
        return front

    def _rewards(self, vectors: Sequence[ValueVector]) -> dict[str, Reward]:
        session, experiment = self.session, self.session.experiment
        with session.stages.stage("Make the rewards"):
            rewards = make_rewards(session, vectors)
            checks = run_checks(experiment, rewards, session.data, session.sources, bar=session.stages.bar)
            self._write("rewards", rewards_record(rewards, checks, pessimism=experiment.evaluation.pessimism))
        return rewards

    def _score_by_pairs(self, vectors: Sequence[ValueVector]) -> None:
        home = self.folder / PAIRS
        front = find_front_by_pairs(self.session, vectors, Ledger(self.folder).current("validation"), Ledger(home))
        write_record(home, "front", front.to_json())

    def _preservation(self, vectors: Sequence[ValueVector], rewards: Mapping[str, Reward]) -> None:
        """Score each penalised vector alone, and its counterpart that was trained without the penalty."""
        home = self.folder / "independent"
        independent = load_vectors(home / "adapters", [vector.value for vector in vectors])
        evaluators = (
            make_evaluator(self.session, group, rewards, Ledger(folder), split="validation")
            for group, folder in ((vectors, self.folder), (independent, home))
        )
        experiment = self.session.experiment
        compared = preservation(
            vectors,
            independent,
            *evaluators,
            space=experiment.space,
            smallest_difference=experiment.evaluation.smallest_difference,
        )
        self._write("preservation", {"values": compared})

    def save(self, vectors: Sequence[ValueVector], folder: Path) -> None:
        """Write each vector as an adapter that names its base; each is whole or absent."""
        commit = getattr(self.session.backbone.model.config, "_commit_hash", None)
        base = published(self.session.experiment.model.source, commit=commit)
        for vector in vectors:
            named = replace(vector, metadata={**vector.metadata, "base_model": asdict(base)})
            name = check_name(vector.value, where="A vector's value")
            with whole_folder(folder / name) as draft:
                save_adapter(named, draft, base_model=base.loadable, revision=base.revision)

    def _finish(self) -> None:
        publish(self.folder, self.tracker)
        run = read_run(self.folder)
        # A sweep prints its own summary at the end.
        view = front_view(run)
        in_a_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        text = brief(run, view) if in_a_sweep else summary(run, view, choose(run, view, self.selection))
        self.session.stages.console.print(text, crop=False)

    def _write(self, name: str, record: dict[str, Any]) -> None:
        write_record(self.folder, name, record)


@contextmanager
def open_workflow(config: DictConfig, *, job_type: JobType) -> Iterator[Workflow]:
    """Check the configuration, open and lock the run folder, read the data, load the model, start tracking."""
    experiment = assemble.experiment(config)
    experiment.check_machine()
    spec = assemble.build(config.tracking)
    seed_everything(experiment.seed)
    folder = _from_here(Path(HydraConfig.get().runtime.output_dir))
    with writing(folder):
        open_run_folder(folder, config)
        stages = Stages(folder)
        with stages.stage("Read the data"):
            data = _read_data(experiment, stages, folder, on_change=config.data_changed)
            sources = read_sources(experiment, data, stages)
        with stages.stage("Load the model"):
            backbone = _load_model(experiment, stages, folder)
            for value, pairs in data.items():
                data[value], skipped = renderable(
                    pairs, backbone.template.rendering, on_bad_row=experiment.data.on_bad_row
                )
                stages.tell(f"{value}: {line}" for line in examples(skipped))
            sources = taken_sources(experiment, sources, backbone, stages)
        plain: Any = OmegaConf.to_container(config, resolve=True)
        identity = RunIdentity(folder, folder.name, _group(config), job_type, plain)
        with Composite(tuple(dict.fromkeys([Local(), spec]))).start(identity) as tracker:
            session = open_session(experiment, backbone, data, stages, sources=sources)
            with closing(session.engine):
                check_session(session)
                selected = assemble.selected(config, experiment)
                yield Workflow(session, folder, tracker, list(config.report.forms), selected)


def _read_data(experiment: Experiment, stages: Stages, folder: Path, *, on_change: str) -> dict[str, ValueData]:
    """Read every value's pairs, compare them with those of an earlier start, and write data.json."""
    data, reports = experiment.data.load(experiment.values, cluster=experiment.evaluation.cluster)
    stages.tell(line for report in reports.values() for line in report.summary())
    check_clusters(data, "validation", experiment.evaluation.n_validation_prompts)
    check_clusters(data, "test", experiment.evaluation.n_test_prompts)
    fingerprints = {value: data_fingerprint(pairs) for value, pairs in data.items()}
    changed = check_data(folder, fingerprints, on_change=on_change)
    values = {value: {**report.facts(), "fingerprint": fingerprints[value]} for value, report in reports.items()}
    write_record(folder, "data", {"values": values, "changed": changed})
    return data


def _load_model(experiment: Experiment, stages: Stages, folder: Path) -> Backbone:
    """Load the model, and write model.json."""
    backbone = experiment.model.load(experiment.store)
    stages.tell(backbone.notes)
    thoughts = thought_marks(backbone.template, experiment.evaluation.generation.strip_reasoning)
    about = {
        "name": backbone.name,
        "fingerprint": backbone.fingerprint,
        "notes": list(backbone.notes),
        "thoughts": thoughts and list(thoughts),
    }
    write_record(folder, "model", about)
    return backbone


def _group(config: DictConfig) -> str:
    """The sweep that a run belongs to; a run on its own belongs to its experiment."""
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else str(config.experiment_name)


def _from_here(folder: Path) -> Path:
    """Name the folder as seen from where the user stands, if it lies below: that is what he will type."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _training(vector: ValueVector) -> dict[str, Any]:
    """What the vector is and what it cost: pairs through forward and backward, seconds (when it was trained)."""
    return {"key": vector.key, "norm": vector.norm(), "cost": vector.metadata.get("cost")}
