"""Adapters that the user brings (`adapters.<value>=FOLDER`), in place of trained vectors."""

from collections.abc import Mapping
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mva.apps import assemble
from mva.apps.workflow import Workflow
from mva.models.adapter_fit import doubts, fit_to, same_adapters
from mva.models.foreign_adapters import PeftAdapter, read_peft_adapter
from mva.models.sources.published import published
from mva.models.value_vector import ValueVector


def configured_for_adapters(config: DictConfig) -> DictConfig:
    """Let the run's values be those of `adapters`, and its folders absolute; without adapters nothing changes.

    Raises:
        ValueError: If a run is named, too, if value.names was given and names other values, if the data offers no
            pairs of a value, or the plan does not have one vector a value.
    """
    if not config.adapters:
        return config
    if config.run is not None:
        raise ValueError("Give run=FOLDER or adapters.<value>=FOLDER, not both: either names the vectors to explore.")
    names = [str(value) for value in config.adapters]
    stated = [str(value) for value in config.value.names]
    if set(stated) == set(names):
        names = stated
    elif _is_stated():
        raise ValueError(
            f"value.names is {stated}, but adapters are given for {names}: give one for each value, or leave "
            f"value.names out."
        )
    offered = [str(value) for value in config.data["values"]]
    if unknown := [name for name in names if name not in offered]:
        raise ValueError(
            f"adapters are given for {', '.join(unknown)}, but the data has pairs of {', '.join(offered)} alone, and "
            f"prompts and rewards come from a value's pairs: name the adapters after values of the data, or choose "
            f"data that has these."
        )
    if list(assemble.build(config.plan).names(names)) != names:
        raise ValueError("The plan has other vectors than one a value: explore adapters with plan=independent.")
    config = config.copy()
    config.value.names = names
    config.adapters = {value: _absolute(value, config.adapters[value]) for value in names}
    return config


def read_adapters(config: DictConfig) -> dict[str, PeftAdapter]:
    """Read the adapters' files, by value; no model is loaded yet."""
    return {str(value): read_peft_adapter(Path(folder)) for value, folder in config.adapters.items()}


def vectors_of(workflow: Workflow, adapters: Mapping[str, PeftAdapter]) -> list[ValueVector]:
    """Make the adapters the run's vectors, in the order of its values; what is doubtful about them is shown."""
    backbone, stages = workflow.session.backbone, workflow.session.stages
    with stages.stage("Fit the adapters to the model"):
        values = workflow.session.experiment.space.values
        vectors = [fit_to(adapters[value], backbone, value=value) for value in values]
        note = published(workflow.session.experiment.model.source).note
        for value in values:
            stages.tell(f"{value}: {line}" for line in doubts(adapters[value], backbone, note=note))
        stages.tell(same_adapters(adapters))
    return vectors


def _is_stated() -> bool:
    """Whether the command line itself says which values there are; a file of settings (experiment=) is outvoted."""
    words = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return any(str(word).lstrip("+").startswith(("value=", "value.names=")) for word in words)


def _absolute(value: str, folder: object) -> str:
    if not isinstance(folder, str) or not folder:
        raise ValueError(f"adapters.{value} is {folder!r}: give the folder of a LoRA adapter that PEFT saved.")
    return str(Path(folder).expanduser().absolute())
