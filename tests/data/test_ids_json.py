"""The text that addresses are hashes of, byte for byte that of Python's own encoder."""

import json

import pytest
import torch

from mva.data.ids_json import ids_json
from mva.data.tokenization import TokenizedPair
from mva.data.tokenized import TokenizedValue
from mva.fingerprint import fingerprint


def pairs_of(n, longest, vocabulary):
    generator = torch.Generator().manual_seed(n)

    def ids():
        size = int(torch.randint(1, longest + 1, (), generator=generator))
        return tuple(torch.randint(vocabulary, (size,), generator=generator).tolist())

    return [TokenizedPair(ids(), ids(), ids()) for _ in range(n)]


GROWING = pairs_of(5000, 3, 10) + pairs_of(10, 3, 200_000)
CASES = {
    "none": [],
    "single ids": pairs_of(3, 1, 1),
    "digits of all lengths": pairs_of(100, 20, 120_000),
    "several pieces, with larger ids in the last": GROWING,
    "an empty part": [TokenizedPair((1, 2), (3,), ()), TokenizedPair((), (4,), (5,))],
}


@pytest.mark.parametrize("pairs", CASES.values(), ids=CASES)
def test_the_bytes_are_those_of_the_encoder(pairs):
    plain = [[pair.prompt, pair.chosen, pair.rejected] for pair in pairs]
    assert b"".join(ids_json(pairs)) == json.dumps(plain, separators=(",", ":")).encode()
    assert TokenizedValue(pairs, []).fingerprint == fingerprint(plain)


def test_a_value_is_hashed_once(monkeypatch):
    value = TokenizedValue(pairs_of(3, 4, 10), [])
    first = value.fingerprint
    monkeypatch.setattr("mva.data.tokenized.ids_json", None)
    assert value.fingerprint == first
