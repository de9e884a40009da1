"""The fingerprint of a base model: a hash of all its weights, computed once for the files that they come from.

Hashing 14 GB takes 10 s and more, at every start. What it came to is kept under a key of what the files are known by
(path, size, time of modification, inode) and of how they are read. Files that have just been written are hashed again:
within a clock's tick a file can change and keep them all.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from mva.models.disk import DiskTrouble
from mva.models.store import Store, key_of
from mva.models.tensor_hash import tensors_fingerprint

KIND = "bases"
_FILE = "fingerprint.json"
_SETTLED = 10.0  # seconds between a change and the reading, after which the time of modification tells of the next

Known = Sequence[Sequence[object]]


def known_by(files: Sequence[Path], *, read_since: float) -> Known | None:
    """Say what tells files apart without reading them; None if there are none, or one is as new as its reading."""
    known: list[list[object]] = []
    for path in sorted(files):
        state = path.stat()
        if state.st_mtime > read_since - _SETTLED:
            return None
        known.append([str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
    return known or None


def weights_fingerprint(model: PreTrainedModel, known: Known | None, store: Store | None) -> str:
    """Hash the weights of a model, or look up what they came to when they were read from these files."""
    if known is None or store is None:
        return tensors_fingerprint(model.named_parameters())
    libraries = [torch.__version__, transformers.__version__]
    key = key_of([type(model).__name__, str(model.dtype), list(map(list, known)), libraries])
    with suppress(DiskTrouble, OSError, ValueError, KeyError, TypeError):
        folder = store.get(KIND, key)
        if folder is not None:
            return str(json.loads((folder / _FILE).read_text(encoding="utf-8"))["fingerprint"])
    made = tensors_fingerprint(model.named_parameters())
    with suppress(DiskTrouble):
        store.put(KIND, key, lambda folder: _write(folder, {"fingerprint": made}))
        store.annotate(KIND, key, what=f"the fingerprint of {Path(str(known[0][0])).parent.name}")
    return made


def _write(folder: Path, record: dict[str, Any]) -> None:
    (folder / _FILE).write_text(json.dumps(record), encoding="utf-8")
