"""`mva-export run=FOLDER candidate=ID`: take a candidate with you, as one PEFT adapter or as a merged model.

Examples:
    mva-export run=FOLDER candidate=ID          the ids stand in front.json
    mva-export run=FOLDER candidate=ID export.rank=8   cut to rank 8 by SVD
    mva-export run=FOLDER coefficients.helpful=1 export.form=merged   a combination of your own, as a whole model
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from omegaconf import DictConfig

from mva.apps import assemble
from mva.apps.command import app
from mva.apps.export_base import base_of_run, on_plain_base
from mva.apps.export_folder import check_target, export_folder
from mva.apps.stored_config import read_config
from mva.extrapolation.candidate import Candidate
from mva.models.adapter_files import load_vectors, save_adapter
from mva.models.disk import bytes_of, require_space
from mva.models.merge import merged_copy, rounding_error, truncate
from mva.models.value_vector import ValueVector
from mva.names import check_name
from mva.report.model_card import Export, Form, model_card
from mva.runs.run_folder import RunFiles, read_run
from mva.shapes import anything, fields, named, text
from mva.terminal import Console

_WORTH_SAYING = 0.01
_STORED = fields(
    {},
    {
        "data": fields({}, {"values": named(named(anything))}),
        "model": fields({}, {"dtype": text, "source": named(anything)}),
    },
)


@app
def main(config: DictConfig) -> None:
    """Compose the candidate's vector and write it, with a model card.

    Raises:
        ValueError: If it is not clear which candidate is meant, the form is unknown, or the folder is not free.
    """
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-export run=FOLDER candidate=ID (the ids are in front.json).")
    run, form = read_run(Path(config.run)), _form(config)
    composition = assemble.build(config.composition)
    candidate = Candidate(_coefficients(run, config), composition.name)
    _check_composition(run, config.candidate, composition.name)
    to = _target(run, config, candidate)
    check_target(to)
    vectors = load_vectors(run.folder / "adapters", list(candidate.coefficients))
    # The stored configuration is data: read for names and numbers, never instantiated.
    settings: Any = read_config(run.config, where=str(run.folder / "config.yaml"), shape=_STORED)
    vector = composition.compose(vectors, candidate.coefficients)
    base = base_of_run(vectors, settings, run.folder)
    if form == "adapter":
        vector, base = on_plain_base(vector, base)
    export, console = Export(run, settings, candidate, vectors, base, form), Console()
    if config.export.rank is not None:
        vector, error = truncate(vector, int(config.export.rank))
        export = replace(export, cut=(vector.rank, error))
        console.print(f"Cut to rank {vector.rank}: relative error {error:.2%} of the update (Frobenius norm)")
    _check_finite(vector)
    _write(vector, export, config, to, console)
    combination = ", ".join(f"{value} {omega:g}" for value, omega in candidate.coefficients.items())
    console.print(f"{combination} -> {to}", highlight=False, markup=False)


def _form(config: DictConfig) -> Form:
    for form in get_args(Form):
        if config.export.form == form:
            return form
    raise ValueError(f"export.form is '{config.export.form}': choose adapter or merged.")


def _coefficients(run: RunFiles, config: DictConfig) -> dict[str, float]:
    if (config.candidate is None) == (not config.coefficients):
        raise ValueError("Name either candidate=ID or coefficients={value: number, ...}.")
    if config.coefficients:
        return {str(value): _number(value, omega) for value, omega in config.coefficients.items()}
    known = {line["id"]: line["coefficients"] for line in run.candidates}
    if config.candidate not in known:
        raise ValueError(
            f"{run.folder} has no candidate '{config.candidate}': it has {', '.join(list(known)[:5])}, ..."
        )
    return dict(known[config.candidate])


def _number(value: object, omega: object) -> float:
    if isinstance(omega, bool) or not isinstance(omega, int | float) or not math.isfinite(omega):
        raise ValueError(f"coefficients.{value} is {omega}: give a finite number.")
    return float(omega)


def _check_composition(run: RunFiles, candidate: str | None, chosen: str) -> None:
    """Refuse to compose a candidate in another way than it was scored."""
    scored = {line["id"]: line["composition"] for line in run.candidates}.get(candidate, chosen)
    if scored != chosen:
        raise ValueError(
            f"The candidate {candidate} was composed by '{scored}', but composition is '{chosen}': "
            f"say composition={scored.split()[0]}, with the settings of the run."
        )


def _target(run: RunFiles, config: DictConfig, candidate: Candidate) -> Path:
    if config.export.to:
        return Path(config.export.to)
    name = check_name(config.candidate or f"custom-{candidate.id}", where="candidate")
    return run.folder / "exported" / f"{name}-{config.export.form}"


def _check_finite(vector: ValueVector) -> None:
    for module, factor in vector.factors.items():
        if not (math.isfinite(factor.scaling) and torch.isfinite(factor.a).all() and torch.isfinite(factor.b).all()):
            raise ValueError(f"The combination is not finite in {module}: give finite, smaller coefficients.")


def _write(vector: ValueVector, export: Export, config: DictConfig, to: Path, console: Console) -> None:
    about: Mapping[str, object] = {
        "run": export.run.folder.name,
        "candidate": export.candidate.id,
        "coefficients": dict(export.candidate.coefficients),
        "composition": export.candidate.composition,
        "form": export.form,
    }
    tensors = [side for factor in vector.factors.values() for side in (factor.a, factor.b)]
    if export.form == "merged":
        backbone = assemble.build(config.model).load()
        if backbone.fingerprint != vector.base:
            raise ValueError(f"The run was made with another model than {backbone.name}: name it with model=...")
        if (error := rounding_error(backbone, vector)) > _WORTH_SAYING:
            line = (
                f"Rounding to {config.model.dtype} takes {error:.0%} of the update; export.form=adapter keeps it all."
            )
            console.print(line, markup=False)
        tensors = list(backbone.model.parameters())
    require_space(to, bytes_of(tensors), what=f"The {export.form} export", mend="name another with export.to=FOLDER")
    with export_folder(to, about) as draft:
        if export.form == "adapter":
            save_adapter(vector, draft, base_model=export.base.loadable, revision=export.base.revision)
        else:
            merged_copy(backbone, vector).save_pretrained(draft)
            backbone.tokenizer.save_pretrained(draft)
        (draft / "README.md").write_text(model_card(export), encoding="utf-8")


if __name__ == "__main__":
    main()
