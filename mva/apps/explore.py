"""`mva-explore`: explore combinations of vectors that are there already.

Examples:
    mva-explore run=FOLDER extrapolation.maximum=1.5   look beyond the box, with the vectors of a run
    mva-explore adapters.helpful=DIR adapters.harmless=DIR model=smollm2_hub   LoRA adapters that PEFT saved elsewhere
    mva-explore -m coefficients.helpful=0,1 coefficients.harmless=0,1   one candidate a job, one front
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from mva.apps import assemble
from mva.apps.brought import configured_for_adapters, read_adapters, vectors_of
from mva.apps.command import app
from mva.apps.workflow import Workflow, open_workflow
from mva.folders import check_folder
from mva.models.adapter_files import load_vectors
from mva.models.foreign_adapters import PeftAdapter
from mva.models.value_vector import ValueVector
from mva.pipeline import filter_pairs, train_vectors


@app
def main(config: DictConfig) -> float:
    """Explore the vectors of `run=FOLDER`, the adapters of `adapters`, or else this configuration's from the store.

    With `coefficients` the search is that one candidate. Returns the front's hypervolume, for sweepers.
    """
    config = configured_for_adapters(config)
    adapters = read_adapters(config)
    if config.run is not None:
        load_vectors(_adapters_of(config), assemble.experiment(config).space.values)  # refused before a model is loaded
    with open_workflow(of_one_candidate(config), job_type="explore") as workflow:
        if config.run is None and not adapters and not config.coefficients:
            return workflow.explore(workflow.train()).hypervolume
        vectors = _vectors(workflow, config, adapters)
        workflow.save(vectors, workflow.folder / "adapters")  # so that its candidates can be exported
        return workflow.explore(vectors).hypervolume


def of_one_candidate(config: DictConfig) -> DictConfig:
    """Let the search be the candidate of `coefficients`, if there are any."""
    if config.coefficients:
        config = config.copy()
        config.search = {
            "_target_": "mva.search.listed.Listed",
            "candidates": [dict(config.coefficients)],
            "include_corners": False,
        }
    return config


def _vectors(workflow: Workflow, config: DictConfig, adapters: Mapping[str, PeftAdapter]) -> Sequence[ValueVector]:
    if adapters:
        return vectors_of(workflow, adapters)
    return _of_run(workflow, config) if config.run is not None else _of_store(workflow)


def _of_run(workflow: Workflow, config: DictConfig) -> Sequence[ValueVector]:
    base = workflow.session.backbone.fingerprint
    return load_vectors(_adapters_of(config), workflow.session.experiment.space.values, expect_base=base)


def _adapters_of(config: DictConfig) -> Path:
    folder = Path(config.run)
    if not (folder / "adapters").is_dir():
        raise ValueError(f"run is {folder}, which holds no adapters/: name the folder of a run that trained vectors.")
    return check_folder(folder) / "adapters"


def _of_store(workflow: Workflow) -> Sequence[ValueVector]:
    # A sweep has many jobs of one candidate: what the vectors have to do with each other is not measured in every one.
    with workflow.session.stages.stage("Take the value vectors from the store"):
        return train_vectors(filter_pairs(workflow.session), log=workflow.tracker.log)


if __name__ == "__main__":
    main()
