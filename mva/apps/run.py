"""`mva`: train value vectors, explore their combinations, hand over the Pareto front.

Examples:
    mva                                         the main job, on the model and data that come with it
    mva debug=smoke                             the whole path on a tiny model, in under a minute
    mva -m penalty.strength=0,1,10 seed=0,1,2   a sweep: one front over nine jobs
"""

from omegaconf import DictConfig

from mva.apps.command import app
from mva.apps.several import led
from mva.apps.workflow import open_workflow


@app
@led
def main(config: DictConfig) -> float:
    """Run everything; returns the front's hypervolume, for sweepers."""
    with open_workflow(config, job_type="run") as workflow:
        vectors = workflow.train()
        return workflow.explore(vectors).hypervolume


if __name__ == "__main__":
    main()
