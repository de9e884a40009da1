"""Where others find a base model: what an adapter's configuration and its card say of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mva.models.adapter_files import CONFIG
from mva.records import read_json
from mva.shapes import fields, maybe, text

UNKNOWN = "unknown"
_NAMES_ITS_BASE = fields({}, {"base_model_name_or_path": maybe(text), "revision": maybe(text)})
# The hub's identifiers of the licences of the models that conf/model/ names.
_LICENSES = {
    "EleutherAI/pythia-160m": "apache-2.0",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "apache-2.0",
    "HuggingFaceTB/SmolLM3-3B": "apache-2.0",
    "Qwen/Qwen2.5-0.5B-Instruct": "apache-2.0",
    "Qwen/Qwen3-0.6B": "apache-2.0",
    "allenai/OLMo-2-0425-1B-Instruct": "apache-2.0",
    "facebook/opt-125m": "other",
    "google/gemma-2-2b-it": "gemma",
    "google/gemma-3-1b-it": "gemma",
    "meta-llama/Llama-2-7b-hf": "llama2",
    "meta-llama/Llama-3.1-8B-Instruct": "llama3.1",
    "meta-llama/Llama-3.2-1B-Instruct": "llama3.2",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama3",
    "microsoft/Phi-4-mini-instruct": "mit",
    "mistralai/Mistral-7B-Instruct-v0.3": "apache-2.0",
}
_SNAPSHOT = re.compile(r"models--(?P<owner>[^/\\]+)--(?P<name>[^/\\]+)[/\\]snapshots[/\\](?P<commit>[0-9a-f]{40})$")


@dataclass(frozen=True)
class Published:
    """How to get a base model again.

    `name` is what transformers' `from_pretrained` takes: a hub name, or an absolute path (`local`); None if there is
    neither. `adapters` (folders, or hub names) are merged into it at loading, in this order: all together are the
    base. `code` is Python that sets `model` and `tokenizer` to exactly the weights that the run had, where
    `from_pretrained` does not give them; `note` says in words what is special about them.
    """

    name: str | None
    revision: str | None = None
    local: bool = False
    license: str = UNKNOWN
    adapters: tuple[str, ...] = ()
    code: str | None = None
    note: str | None = None

    @property
    def loadable(self) -> str | None:
        """The name by which `from_pretrained` alone gives the whole base; None where an adapter is merged into it."""
        return None if self.adapters else self.name

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Published":
        """Read what `dataclasses.asdict` made; parts that are not known here are left out."""
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        return cls(**{"name": None, **known, "adapters": tuple(known.get("adapters", ()))})


def published(source: object, *, commit: str | None = None) -> Published:
    """Ask a model source; one that says nothing is named by its own code, so that at least this project loads it.

    `commit` is the hub's commit that was really loaded: it pins a hub name whose revision moves.
    """
    description = getattr(source, "published", None)
    if not isinstance(description, Published):
        return Published(None, code=loading_code(source))
    if commit and description.name and not (description.local or description.adapters):
        return replace(description, revision=commit)
    return description


def loading_code(source: object) -> str:
    """Write the Python that loads a source: the `repr` of a dataclass is an expression."""
    kind = type(source)
    return (
        "import torch\n"
        f"from {kind.__module__} import {kind.__name__}\n\n"
        f"model, tokenizer = {source!r}.load(torch.float32)"
    )


def of_path(path: str, revision: str | None = None, *, home: Path | None = None) -> Published:
    """Describe a hub name or a local folder; a relative folder lies below `home` (by default the current folder)."""
    folder = (home or Path.cwd()) / Path(path).expanduser()
    if not folder.is_dir():
        return Published(path, revision, license=_LICENSES.get(path, UNKNOWN))
    if (folder / CONFIG).is_file():
        return _of_adapter(folder)
    place = str(folder.resolve())
    if snapshot := _SNAPSHOT.search(place):
        name = f"{snapshot['owner']}/{snapshot['name']}"
        return Published(name, snapshot["commit"], license=_LICENSES.get(name, _license_in(folder)))
    return Published(place, local=True, license=_license_in(folder))


def _of_adapter(folder: Path) -> Published:
    settings = read_json(folder / CONFIG, _NAMES_ITS_BASE, mend="save the adapter again")
    name = settings.get("base_model_name_or_path")
    if not name:
        return Published(None, adapters=(str(folder.resolve()),))
    below = of_path(base_beside(folder, name), settings.get("revision"))
    return replace(below, adapters=(*below.adapters, str(folder.resolve())))


def base_beside(adapter: Path, base: str) -> str:
    """Resolve a base that is named relative to the adapter's folder; other names are returned as they are."""
    folder = adapter / Path(base).expanduser()
    return str(folder) if folder.is_dir() else base


def _license_in(folder: Path) -> str:
    """Read the licence off the model card that lies in the model's folder, if there is one."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front_matter = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    named = re.search(r"^license:[ \t]*['\"]?([\w.-]+)", front_matter[1], re.MULTILINE) if front_matter else None
    return named[1] if named else UNKNOWN
