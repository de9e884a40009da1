"""The token ids of preference pairs in the store: tokenised once per (texts, tokenizer, template, limits)."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import tokenizers
import transformers
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedTokenizerBase

from mva.data.batched import Tokens, tokenize_each
from mva.data.preference import PreferencePair
from mva.data.sources.base import BadRow
from mva.data.template import Template
from mva.data.tokenization import TokenizedPair, TokenLimits
from mva.models.disk import DiskTrouble
from mva.models.store import Store, key_of

IntArray = NDArray[np.int32]

KIND = "tokens"
_IDS, _REFUSED = "ids.safetensors", "refused.json"
_VERSION = 1  # raised whenever the ids of the same texts change
_CHUNK = 2048  # pairs or their parts at a time: all of them would double the memory


@dataclass(frozen=True)
class StoredTokens:
    """`tokenize_each`, whose result is kept in `store`; `what` says whose pairs they are."""

    store: Store
    what: str

    def __call__(self, pairs: Sequence[PreferencePair], template: Template, limits: TokenLimits) -> Sequence[Tokens]:
        """Tokenise pairs, or read their ids; where the store can't be written, they are not kept."""
        tokenizer = tokenizer_fingerprint(template.tokenizer)
        if tokenizer is None or not pairs:
            return list(tokenize_each(pairs, template, limits))
        libraries = [tokenizers.__version__, transformers.__version__]
        spec = {
            "version": [_VERSION, *libraries],
            "tokenizer": tokenizer,
            "template": template.key,
            "limits": [limits.prompt, limits.response],
            "pairs": _texts_fingerprint(pairs),
        }
        key = key_of(spec)
        try:
            with self.store.making(KIND, key, what=self.what):
                folder = self.store.get(KIND, key)
                if folder is not None:
                    return _read(folder, pairs)
                tokens = list(tokenize_each(pairs, template, limits))
                with suppress(DiskTrouble):
                    self.store.put(KIND, key, partial(_write, tokens))
                return tokens
        except DiskTrouble:  # a store that can only be read
            return list(tokenize_each(pairs, template, limits))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Hash all that a fast tokenizer's ids depend on; None for a slow one, whose files can lie anywhere."""
    if not tokenizer.is_fast:
        return None
    facts = [type(tokenizer).__name__, str(tokenizer.bos_token), str(tokenizer.eos_token)]
    content = json.dumps(facts) + tokenizer.backend_tokenizer.to_str()
    return hashlib.sha256(content.encode()).hexdigest()


def _texts_fingerprint(pairs: Sequence[PreferencePair]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(pairs), _CHUNK):
        texts = [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs[start : start + _CHUNK]]
        digest.update(json.dumps(texts).encode())
    return digest.hexdigest()


def _write(tokens: Sequence[Tokens], folder: Path) -> None:
    """Write all ids as one row of numbers, and by pair the lengths of its three parts and its two flags.

    A pair that can't be used has no ids; the reason is stored by its row number.
    """
    parts = [() if isinstance(pair, BadRow) else (pair.prompt, pair.chosen, pair.rejected) for pair in tokens]
    flags = [(0, 0) if isinstance(pair, BadRow) else (pair.cut, pair.spans) for pair in tokens]
    lengths = [tuple(map(len, pair)) or (0, 0, 0) for pair in parts]
    flat = chain.from_iterable(chain.from_iterable(parts))
    arrays = {
        "ids": np.fromiter(flat, np.int32),
        "lengths": np.array(lengths, np.int32),
        "flags": np.array(flags, np.uint8),
    }
    save_file(arrays, folder / _IDS)
    refused = {str(row): pair.problem for row, pair in enumerate(tokens) if isinstance(pair, BadRow)}
    (folder / _REFUSED).write_text(json.dumps(refused), encoding="utf-8")


def _read(folder: Path, pairs: Sequence[PreferencePair]) -> list[Tokens]:
    stored = load_file(folder / _IDS)
    refused = json.loads((folder / _REFUSED).read_text(encoding="utf-8"))
    parts = _parts(stored["ids"], stored["lengths"].reshape(-1))
    tokens: list[Tokens] = []
    for row, (pair, (cut, spans)) in enumerate(zip(pairs, stored["flags"].tolist(), strict=True)):
        prompt, chosen, rejected = next(parts), next(parts), next(parts)
        if str(row) in refused:
            tokens.append(BadRow(pair.origin, refused[str(row)]))
        else:
            tokens.append(TokenizedPair(prompt, chosen, rejected, pair, bool(cut), bool(spans)))
    return tokens


def _parts(ids: IntArray, lengths: IntArray) -> Iterator[tuple[int, ...]]:
    """Cut a row of ids into parts of these lengths; an id is one object in all of them."""
    shared = np.arange(ids.max(initial=0) + 1).astype(object)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    for start in range(0, len(lengths), _CHUNK):
        bounds = ends[start : start + _CHUNK + 1]
        objects = shared[ids[bounds[0] : bounds[-1]]].tolist()
        for first, end in pairwise((bounds - bounds[0]).tolist()):
            yield tuple(objects[first:end])
