"""The folder of an export: written whole, and never mixed with what somebody else put there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mva.models.adapter_files import VECTOR
from mva.models.adapter_files import read_json as read_record
from mva.records import SCHEMA_VERSION, read_json, whole_folder, write_json
from mva.shapes import fields, list_of, text

EXPORT = "mva_export.json"
_FILES = fields({}, {"files": list_of(text)})


@contextmanager
def export_folder(to: Path, about: Mapping[str, object]) -> Iterator[Path]:
    """Give an empty folder to be filled, which takes the place of `to` at the end; `about` is kept in it.

    Raises:
        ValueError: If `to` is a file, or holds anything that no export wrote (see `check_target`).
    """
    check_target(to)
    with whole_folder(to) as draft:
        yield draft
        files = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        write_json(draft / EXPORT, {"schema_version": SCHEMA_VERSION, **about, "files": [*files, EXPORT]})


def check_target(to: Path) -> None:
    """Refuse a place that an export must not take: it replaces what an earlier export wrote, and nothing else.

    Raises:
        ValueError: If `to` is a file, or holds anything that no export wrote.
    """
    if not to.is_dir():
        if to.exists():
            raise ValueError(f"{to} is a file: give export.to the name of a folder.")
        return
    there = {path.relative_to(to).as_posix() for path in to.rglob("*") if not path.is_dir()}
    if foreign := sorted(there - _written(to)):
        raise ValueError(
            f"{to} holds {foreign[0]}, which no export wrote: choose another export.to, or empty the folder first."
        )


def _written(folder: Path) -> set[str]:
    if (folder / EXPORT).is_file():
        record = read_json(folder / EXPORT, _FILES, mend="choose another export.to, or remove that folder")
        return set(record.get("files", ()))
    # Exports had no record of their own once, but their vectors know the coefficients that they are made of.
    if (folder / VECTOR).is_file() and "coefficients" in read_record(folder / VECTOR).get("metadata", {}):
        return {VECTOR, "adapter_config.json", "adapter_model.safetensors", "README.md"}
    return set()
