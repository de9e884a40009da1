"""`mva-train`: train the value vectors alone.

Examples:
    mva-train                                   one vector a value, written as PEFT adapters
    mva-train estimator=club penalty=update_rows   with another dependence estimator, on other samples
    mva-train method=rewarded_soups seed=1      the vectors of a baseline
"""

from statistics import fmean

from omegaconf import DictConfig

from mva.apps.command import app
from mva.apps.several import led
from mva.apps.workflow import open_workflow
from mva.runs.run_folder import RunFiles, read_run


@app
@led
def main(config: DictConfig) -> float:
    """Train one vector per value and write them as adapters; returns `held_out_accuracy`, for sweepers."""
    with open_workflow(config, job_type="train") as workflow:
        workflow.train()
    return held_out_accuracy(read_run(workflow.folder))


def held_out_accuracy(run: RunFiles) -> float:
    """Share of held-out pairs on which a vector's implicit reward agrees, on average over vectors; NaN without any."""
    found = {
        name: number
        for line in run.metrics
        for name, number in line.items()
        if name.startswith("validation/") and name.endswith("/accuracy")
    }
    return fmean(found.values()) if found else float("nan")


if __name__ == "__main__":
    main()
