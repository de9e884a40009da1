"""On which data a run stands (data.json): whether it is still that of an earlier start in the same folder."""

from collections.abc import Mapping
from pathlib import Path

from mva.data.preference import ValueData
from mva.fingerprint import fingerprint
from mva.records import read_json
from mva.runs.run_records import RECORDS


class FolderInUse(ValueError):
    """The folder holds a run of another configuration."""


def check_data(folder: Path, fingerprints: Mapping[str, str], *, on_change: str) -> list[str]:
    """Compare the data with that of the run in `folder`; returns the values whose data has ever changed.

    A folder from before fingerprints were written is taken to have the same data.

    Raises:
        FolderInUse: If it changed, and `on_change` is "refuse".
        ValueError: If `on_change` is neither "refuse" nor "continue".
    """
    if on_change not in ("refuse", "continue"):
        raise ValueError(f"data_changed is '{on_change}': choose refuse or continue.")
    path = folder / "data.json"
    mend = "delete it, if the data is still that of the run here"
    record = read_json(path, RECORDS["data"], mend=mend) if path.exists() else {}
    before = {value: facts.get("fingerprint") for value, facts in record.get("values", {}).items()}
    changed = [value for value, mark in fingerprints.items() if before.get(value) not in (None, mark)]
    if changed and on_change == "refuse":
        raise FolderInUse(
            f"{folder} holds a run on other data: that of {', '.join(changed)} has changed since. Choose another "
            "hydra.run.dir, or say data_changed=continue to go on here: the earlier results are then left out."
        )
    return sorted({*record.get("changed", ()), *changed})


def data_fingerprint(data: ValueData) -> str:
    """Hash a value's pairs, split by split, as text."""
    return fingerprint([[split, [(p.prompt, p.chosen, p.rejected) for p in pairs]] for split, pairs in data.splits()])
