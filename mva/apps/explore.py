"""`mva-explore`: explore combinations of vectors that are there already.

Examples:
    mva-explore run=FOLDER extrapolation.maximum=1.5   look beyond the box, with the vectors of a run
    mva-explore run=FOLDER search=adaptive      with another search
    mva-explore -m coefficients.helpful=0,1 coefficients.harmless=0,1   one candidate a job, one front
"""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from mva.apps.command import app
from mva.apps.workflow import Workflow, open_workflow
from mva.models.adapter_files import load_adapter
from mva.models.value_vector import ValueVector
from mva.pipeline import filter_pairs, train_vectors


@app
def main(config: DictConfig) -> float:
    """Explore the vectors of `run=FOLDER`, or (without it) those of this configuration from the store.

    With `coefficients` the search is that one candidate. Returns the front's hypervolume, for sweepers.
    """
    with open_workflow(of_one_candidate(config), job_type="explore") as workflow:
        if config.run is None and not config.coefficients:
            return workflow.explore(workflow.train()).hypervolume
        vectors = _of_run(workflow, config) if config.run is not None else _of_store(workflow)
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


def _of_run(workflow: Workflow, config: DictConfig) -> Sequence[ValueVector]:
    adapters = Path(config.run) / "adapters"
    base = workflow.session.backbone.fingerprint
    return [load_adapter(adapters / value, expect_base=base) for value in workflow.session.experiment.space.values]


def _of_store(workflow: Workflow) -> Sequence[ValueVector]:
    # A sweep has many jobs of one candidate: what the vectors have to do with each other is not measured in every one.
    with workflow.session.stages.stage("Take the value vectors from the store"):
        return train_vectors(filter_pairs(workflow.session), log=workflow.tracker.log)


if __name__ == "__main__":
    main()
