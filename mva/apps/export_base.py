"""Which base an exported candidate stands on, as a run's records say."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mva.composition.linear import Linear
from mva.models.adapter_files import BrokenAdapter
from mva.models.foreign_adapters import read_peft_adapter
from mva.models.sources.pretrained import Pretrained
from mva.models.sources.published import Published, of_path
from mva.models.sources.smollm2_wheel import SmolLM2Wheel
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import ValueVector


def base_of_run(vectors: Sequence[ValueVector], settings: Mapping[str, Any], folder: Path) -> Published:
    """Read the base off a run's vectors, or (of runs that did not write it there) off its configuration.

    Args:
        vectors: Of the run.
        settings: The run's stored configuration.
        folder: The run's folder, which knows where a relative path was typed.
    """
    for vector in vectors:
        record = vector.metadata.get("base_model")
        if isinstance(record, Mapping):
            return Published.from_json(record)
    source = settings.get("model", {}).get("source", {})
    kind = str(source.get("_target_", ""))
    if kind == _name(Pretrained):
        return of_path(str(source["path"]), source.get("revision"), home=_typed_in(folder))
    if kind == _name(SmolLM2Wheel):
        return SmolLM2Wheel("anywhere").published
    if kind == _name(TinyRandom):
        return TinyRandom(**{name: setting for name, setting in source.items() if name != "_target_"}).published
    return Published(None, note=f"The run loaded it by {kind or 'a source that its folder does not name'}.")


def on_plain_base(vector: ValueVector, base: Published) -> tuple[ValueVector, Published]:
    """Where the base is a model with adapters merged into it, put these adapters into the vector.

    The result says on the plain model what the vector says on the merged one, so that one adapter is all that others
    need.

    Raises:
        BrokenAdapter: If such an adapter is no longer there, or is more than a low-rank update.
    """
    if not base.adapters:
        return vector, base
    try:
        adapters = [read_peft_adapter(Path(folder)) for folder in base.adapters]
    except BrokenAdapter as error:
        raise BrokenAdapter(
            f"The run's base is a model with {', '.join(base.adapters)} merged into it, which can't be part of one "
            f"adapter ({error}): take the whole model with export.form=merged."
        ) from error
    parts = [ValueVector(f"{i}", adapter.factors, "", metadata=vector.metadata) for i, adapter in enumerate(adapters)]
    parts.append(replace(vector, value="the vector"))
    together = Linear().compose(parts, dict.fromkeys((part.value for part in parts), 1.0))
    plain = replace(
        base,
        adapters=(),
        note=f"The run had merged {', '.join(base.adapters)} into this model; that is part of the adapter here.",
    )
    metadata = {**vector.metadata, "base_model": asdict(plain)}
    # The vector's base was the merged model; of the plain one there is no fingerprint.
    return replace(together, value=vector.value, base="", metadata=metadata), plain


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _typed_in(folder: Path) -> Path | None:
    """Find the folder in which the run's command was typed, as Hydra wrote it down."""
    path = folder / ".hydra" / "hydra.yaml"
    if not path.is_file():
        return None
    typed = OmegaConf.select(OmegaConf.load(path), "hydra.runtime.cwd")
    return Path(typed) if isinstance(typed, str) else None
