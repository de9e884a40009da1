"""Whether torchrun or srun started this process among others, as the environment says; every command asks it first."""

import os


def by_torchrun() -> bool:
    """Say whether torchrun started several processes."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def by_srun() -> bool:
    """Say whether srun did; a batch script before its first srun is one process."""
    return os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1" and "SLURM_PROCID" in os.environ


def are_several() -> bool:
    """Say whether this process has others beside it."""
    return by_torchrun() or by_srun()
