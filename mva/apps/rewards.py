"""`mva-rewards`: how often each reward agrees with labelled pairs, those of other data above all.

Examples:
    mva-rewards evaluation.reward_check=[pairs.jsonl,folder]   the configuration's rewards on these files
    mva-rewards evaluation.reward_check={harmless:[pairs.jsonl]}   labels that speak of one value alone
    mva-rewards run=FOLDER                      what a run has found; with other files, its rewards on these
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mva.apps import assemble
from mva.apps.command import app
from mva.apps.reward_sources import read_sources, run_checks, taken_sources
from mva.data.tokenized import examples, renderable
from mva.experiment import Experiment
from mva.folders import check_folder
from mva.models.adapter_files import load_vectors
from mva.models.backbone import Backbone
from mva.models.value_vector import ValueVector
from mva.pipeline import build_rewards
from mva.report.reward_table import reward_table
from mva.rewards.base import Reward
from mva.rewards.implicit import Implicit
from mva.rewards.pessimism import pessimistic
from mva.runs.run_folder import Record, RunFiles, read_run
from mva.seeding import seed_everything
from mva.stages import Stages
from mva.terminal import Console


@app
def main(config: DictConfig) -> None:
    """Print the table of checks; no vector is trained, and nothing is written but what the cache keeps.

    Raises:
        ValueError: If the run's rewards are others than the configuration's, or a reward lacks its vectors.
    """
    run = None if config.run is None else read_run(Path(config.run))
    checks: Sequence[Record]
    if run is not None and run.reward_checks and not config.evaluation.reward_check:
        checks = run.reward_checks
    else:
        checks = _check(config, run)
    Console().print(reward_table(checks), crop=False)


def _check(config: DictConfig, run: RunFiles | None) -> Sequence[Record]:
    experiment = assemble.experiment(config)
    experiment.check_machine()
    if run is None:
        _check_needs_no_vectors(experiment)
    seed_everything(experiment.seed)
    stages = Stages(Path(HydraConfig.get().runtime.output_dir))
    data, _ = experiment.data.load(experiment.values)
    sources = read_sources(experiment, data, stages)
    backbone = experiment.model.load(experiment.store)
    for value, pairs in data.items():
        data[value], skipped = renderable(pairs, backbone.template.rendering, on_bad_row=experiment.data.on_bad_row)
        stages.tell(f"{value}: {line}" for line in examples(skipped))
    sources = taken_sources(experiment, sources, backbone, stages)
    vectors = [] if run is None else _vectors_of(run, experiment, backbone)
    rewards = build_rewards(experiment, data, vectors, backbone, bar=stages.bar)
    if run is not None:
        _check_same(run, pessimistic(rewards, experiment.evaluation.pessimism))
    return [check.to_json() for check in run_checks(experiment, rewards, data, sources, bar=stages.bar)]


def _check_needs_no_vectors(experiment: Experiment) -> None:
    for value, reward in experiment.rewards.items():
        if isinstance(reward, Implicit):
            raise ValueError(
                f"The reward of '{value}' is its own vector's implicit one: give the run that trained the vectors, "
                "mva-rewards run=FOLDER."
            )


def _vectors_of(run: RunFiles, experiment: Experiment, backbone: Backbone) -> list[ValueVector]:
    """Load the run's vectors; a run that has none can only have rewards that need none."""
    folder = run.folder / "adapters"
    if not folder.is_dir():
        return []
    return load_vectors(
        check_folder(run.folder) / "adapters", experiment.space.values, expect_base=backbone.fingerprint
    )


def _check_same(run: RunFiles, rewards: Mapping[str, Reward]) -> None:
    """Refuse rewards that are not those of the run: its configuration is data, and is never made again from there."""
    for value, record in run.rewards.items():
        if value not in rewards or rewards[value].key != record["key"]:
            raise ValueError(
                f"The reward of '{value}' is not the one of {run.folder}: repeat the words of the run's command "
                "(value, data, model and reward; they stand in its .hydra/overrides.yaml)."
            )


if __name__ == "__main__":
    main()
