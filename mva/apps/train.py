"""`mva-train`: train the value vectors alone.

Examples:
    mva-train                                   one vector a value, written as PEFT adapters
    mva-train estimator=club penalty=update_rows   with another dependence estimator, on other samples
    mva-train method=rewarded_soups seed=1      the vectors of a baseline
"""

from omegaconf import DictConfig

from mva.apps.command import app
from mva.apps.workflow import open_workflow


@app
def main(config: DictConfig) -> None:
    """Train one vector per value and write them as adapters."""
    with open_workflow(config, job_type="train") as workflow:
        workflow.train()


if __name__ == "__main__":
    main()
