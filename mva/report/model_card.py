"""The model card of an exported candidate: what it is, how it scored, what it stands on, and how to load it.

Everything that comes from a run (names, paths, settings) is data: it is escaped for Markdown and YAML, and stands in
the code as Python literals.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from mva.analysis.prompt_rewards import by_pairs
from mva.extrapolation.candidate import Candidate
from mva.models.sources.published import UNKNOWN, Published
from mva.models.value_vector import ValueVector
from mva.report.loading_code import loading_section
from mva.runs.run_folder import Record, RunFiles
from mva.terminal import visible

Form = Literal["adapter", "merged"]
_SPLITS = {"validation": "validation", "test": "held out"}
_MEANING = {
    False: ("Mean reward", "rewards"),
    True: ("Mean log sigmoid(beta * margin) of held-out preference pairs", "scores"),
}


@dataclass(frozen=True)
class Export:
    """What is exported: a candidate of `run` (whose configuration is `settings`), made of `vectors`, in a form.

    `cut` is the rank that it was cut to, and the relative error of that.
    """

    run: RunFiles
    settings: Mapping[str, Any]
    candidate: Candidate
    vectors: Sequence[ValueVector]
    base: Published
    form: Form
    cut: tuple[int, float] | None = None


def model_card(export: Export) -> str:
    """Write the card (README.md) of an export."""
    parts = [
        _front_matter(export),
        f"# {plain(_title(export))}\n\n{_introduction(export)}",
        "## Coefficients\n\n" + _table(["value", "coefficient", "vector"], _coefficients(export)),
        "## Scores\n\n" + _scores(export),
        "## Data\n\n" + _data(export.run, export.settings),
        "## Base\n\n" + "\n".join(f"- {line}" for line in _base(export.base)),
        "## How to load it\n\n" + loading_section(export.base, export.form, dtype=_dtype(export.settings)),
        "## Made with\n\n" + ", ".join(plain(line) for line in _made_with(export.run)),
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: object) -> str:
    """Escape a text for Markdown, so that it reads as it is, on one line."""
    line = visible(" ".join(str(text).split()))
    escaped = re.sub(r"([\\`*_{}\[\]#|!~])", r"\\\1", line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _front_matter(export: Export) -> str:
    base = export.base
    adapter = export.form == "adapter"
    fields: dict[str, object] = {"base_model": base.name} if base.name else {}
    if base.name:
        fields["base_model_relation"] = "adapter" if adapter else "finetune"
    fields |= {
        "library_name": "peft" if adapter else "transformers",
        "license": base.license,
        "pipeline_tag": "text-generation",
        "tags": [*(["lora"] if adapter else []), "mva", "multi-value-alignment"],
    }
    # JSON's strings and lists are YAML's, too, whatever the names hold.
    return "\n".join(["---", *(f"{name}: {json.dumps(field)}" for name, field in fields.items()), "---"])


def _title(export: Export) -> str:
    return " + ".join(f"{value} {omega:g}" for value, omega in export.candidate.coefficients.items())


def _introduction(export: Export) -> str:
    composition = export.candidate.composition
    formula = "`W + sum_i omega_i s_i B_i A_i`" if composition == "linear" else f"the composition {plain(composition)}"
    kind = "One LoRA adapter" if export.form == "adapter" else "A whole model"
    text = (
        f"{kind}: the candidate {export.candidate.id} of a run of mva (multi-value alignment, arXiv 2511.17579), a "
        f"combination of one value vector per value by {formula}."
    )
    if export.cut is None:
        return text
    rank, error = export.cut
    return (
        f"{text} Its update is cut to rank {rank} by SVD (relative error {error:.2%}); the scores are those of the "
        f"whole update."
    )


def _coefficients(export: Export) -> Iterator[list[str]]:
    vectors = {vector.value: vector for vector in export.vectors}
    for value, omega in export.candidate.coefficients.items():
        vector = vectors[value]
        origin: Any = vector.metadata.get("origin")
        made = f"adapter brought from {origin['folder']}" if isinstance(origin, Mapping) else "trained by mva"
        yield [value, f"{omega:g}", f"{made}, key {vector.key[:12]}" if vector.key else made]


def _scores(export: Export) -> str:
    lines = {line["split"]: line for line in export.run.candidates if line["id"] == export.candidate.id}
    failed = {line["id"]: line["failed"] for line in export.run.failed}
    if export.candidate.id in failed:
        return f"This combination could not be scored: {plain(failed[export.candidate.id])}"
    if not lines:
        return "This combination was not scored."
    columns, rows = ["value"], []
    for split, name in _SPLITS.items():
        if split in lines:
            columns.append(f"{name} ({lines[split]['n_prompts']} prompts)")
    for value, reward in _rewards(export.run, lines):
        scores = [_score(lines[split], value) for split in _SPLITS if split in lines]
        rows.append([value, *scores, reward])
    what, numbers = _MEANING[by_pairs(export.run)]
    note = "" if "test" in lines else "\n\nIt was not scored on held-out prompts: only the front is."
    return (
        f"{what} ± standard error over prompts; higher is better. Base and candidates of one run compare, {numbers} "
        "of different values do not.\n\n" + _table([*columns, "reward"], rows) + note
    )


def _rewards(run: RunFiles, lines: Mapping[str, Record]) -> Iterator[tuple[str, str]]:
    for value in next(iter(lines.values()))["scores"]:
        reward = run.rewards.get(value)
        if by_pairs(run):
            yield value, "none: preference pairs"
        elif reward is None:
            yield value, UNKNOWN
        else:
            yield value, f"{reward['kind']}, agrees with {reward['accuracy']:.1%} of {reward['n_pairs']} held-out pairs"


def _score(line: Record, value: str) -> str:
    return f"{line['scores'][value]:.3f} ± {line['standard_errors'][value]:.3f}"


def _data(run: RunFiles, settings: Mapping[str, Any]) -> str:
    sources = settings.get("data", {}).get("values", {})
    rows = []
    for value, facts in run.data.items():
        counts = facts["counts"]
        numbers = [str(counts.get(split, 0)) for split in ("train", "validation", "test")]
        rows.append([value, *numbers, _in_words(sources.get(value, {}).get("train"))])
    if not rows:
        return "The run's folder has no record of its data."
    changed = ", ".join(map(plain, run.data_changed))
    note = f" The data of {changed} was edited while the run went on; earlier results are left out." if changed else ""
    table = _table(["value", "train", "validation", "held out", "source"], rows)
    return f"Pairs of a chosen and a rejected response.{note}\n\n{table}"


def _in_words(source: object) -> str:
    if not isinstance(source, Mapping):
        return UNKNOWN
    settings = ", ".join(f"{name} {setting}" for name, setting in source.items() if name != "_target_")
    kind = str(source.get("_target_", UNKNOWN)).rpartition(".")[2]
    return f"{kind}: {settings}" if settings else kind


def _base(base: Published) -> Iterator[str]:
    yield f"Model: {plain(base.name or 'no name that others could load it by')}"
    if base.revision:
        yield f"Revision: {plain(base.revision)}"
    if base.adapters:
        yield f"With {', '.join(map(plain, base.adapters))} merged into it"
    yield f"Licence: {plain(base.license)}"
    if base.note:
        yield plain(base.note)


def _made_with(run: RunFiles) -> Iterator[str]:
    try:
        yield f"mva {version('mva')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        yield "mva"
    packages = run.environment.get("packages", {})
    for name in ("torch", "transformers", "peft"):
        if name in packages:
            yield f"{name} {packages[name]}"
    if run.environment.get("git_revision"):
        yield f"revision {run.environment['git_revision']}"
    if "seed" in run.environment:
        yield f"seed {run.environment['seed']}"


def _table(columns: Sequence[str], rows: Iterator[list[str]] | Sequence[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _dtype(settings: Mapping[str, Any]) -> str:
    dtype = settings.get("model", {}).get("dtype", "float32")
    return dtype if dtype in {"float64", "float32", "bfloat16", "float16"} else "float32"
