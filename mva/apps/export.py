"""`mva-export run=FOLDER candidate=ID`: take a candidate with you, as one PEFT adapter or as a merged model.

Examples:
    mva-export run=FOLDER candidate=ID          the ids stand in front.json
    mva-export run=FOLDER candidate=ID export.rank=8   cut to rank 8 by SVD
    mva-export run=FOLDER coefficients.helpful=1 export.form=merged   a combination of your own, as a whole model
"""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from mva.apps import assemble
from mva.apps.command import app
from mva.models.adapter_files import load_vectors, save_adapter
from mva.models.merge import merged_copy, rounding_error, truncate
from mva.models.value_vector import ValueVector
from mva.report.run_files import RunFiles, read_run

_WORTH_SAYING = 0.01


@app
def main(config: DictConfig) -> None:
    """Compose the candidate's vector and write it.

    Raises:
        ValueError: If it is not clear which candidate is meant, or the form is unknown.
    """
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-export run=FOLDER candidate=ID (the ids are in front.json).")
    run = read_run(Path(config.run))
    coefficients = _coefficients(run, config)
    composition = assemble.build(config.composition)
    _check_composition(run, config.candidate, composition.name)
    vectors = load_vectors(run.folder / "adapters", list(coefficients))
    vector = composition.compose(vectors, coefficients)
    console, form = Console(), config.export.form
    if config.export.rank is not None:
        vector, error = truncate(vector, int(config.export.rank))
        console.print(f"Cut to rank {vector.rank}: relative error {error:.2%} of the update (Frobenius norm)")
    name = config.candidate or "custom"
    to = Path(config.export.to) if config.export.to else run.folder / "exported" / f"{name}-{form}"
    _write(vector, config, to, console)
    console.print(f"{', '.join(f'{v} {c:g}' for v, c in coefficients.items())} -> {to}", highlight=False)


def _coefficients(run: RunFiles, config: DictConfig) -> dict[str, float]:
    if (config.candidate is None) == (not config.coefficients):
        raise ValueError("Name either candidate=ID or coefficients={value: number, ...}.")
    if config.coefficients:
        return {str(value): float(omega) for value, omega in config.coefficients.items()}
    known = {line["id"]: line["coefficients"] for line in run.candidates}
    if config.candidate not in known:
        raise ValueError(
            f"{run.folder} has no candidate '{config.candidate}': it has {', '.join(list(known)[:5])}, ..."
        )
    return dict(known[config.candidate])


def _check_composition(run: RunFiles, candidate: str | None, chosen: str) -> None:
    """Refuse to compose a candidate in another way than it was scored."""
    scored = {line["id"]: line["composition"] for line in run.candidates}.get(candidate, chosen)
    if scored != chosen:
        raise ValueError(
            f"The candidate {candidate} was composed by '{scored}', but composition is '{chosen}': "
            f"say composition={scored.split()[0]}, with the settings of the run."
        )


def _write(vector: ValueVector, config: DictConfig, to: Path, console: Console) -> None:
    if config.export.form == "adapter":
        save_adapter(vector, to, base_model=_base_model(Path(config.run)))
    elif config.export.form == "merged":
        backbone = assemble.build(config.model).load()
        if backbone.fingerprint != vector.base:
            raise ValueError(f"The run was made with another model than {backbone.name}: name it with model=...")
        if (error := rounding_error(backbone, vector)) > _WORTH_SAYING:
            console.print(
                f"Rounding to {config.model.dtype} takes {error:.0%} of the update; export.form=adapter keeps it all."
            )
        merged_copy(backbone, vector).save_pretrained(to)
        backbone.tokenizer.save_pretrained(to)
    else:
        raise ValueError(f"export.form is '{config.export.form}': choose adapter or merged.")


def _base_model(run: Path) -> str | None:
    # The stored configuration is data: read for a name, never instantiated.
    source = OmegaConf.load(run / "config.yaml").model.source
    return source.get("path")


if __name__ == "__main__":
    main()
