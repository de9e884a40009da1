"""The commands' door: an app's module, and torch with it, is imported when its task starts.

`--help`, `--cfg job` and a misspelt word end before. `python -m mva.apps.run` enters without this door.
"""

from collections.abc import Callable
from pathlib import Path

from hydra.utils import get_method
from omegaconf import DictConfig

from mva.apps.command import app
from mva.training.launched import are_several


def _command(name: str) -> Callable[[], None]:
    module = f"mva.apps.{name}"

    def task(config: DictConfig) -> object:
        return vars(get_method(f"{module}.main"))["__wrapped__"](config)

    task.__module__ = module  # after which Hydra names the job
    vars(task)["stands_for"] = Path(__file__).with_name(f"{name}.py")

    def enter() -> None:
        # Processes that torchrun or srun started join before anything is composed, and only with some apps.
        main = get_method(f"{module}.main") if are_several() else app(task)
        main()

    return enter


run = _command("run")
train = _command("train")
explore = _command("explore")
report = _command("report")
export = _command("export")
serve = _command("serve")
tune = _command("tune")
judge = _command("judge")
rewards = _command("rewards")
power = _command("power")
