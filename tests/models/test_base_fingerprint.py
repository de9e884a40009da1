"""The fingerprint of a base that is read from files: hashed once, and again whenever the files may be others."""

import os
import time

import pytest
import torch

from mva.models import base_fingerprint
from mva.models.backbone import load_backbone
from mva.models.cache_contents import contents
from mva.models.sources.pretrained import Pretrained
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store

LONG_AGO = time.time() - 1000


def save(folder, seed):
    model, tokenizer = TinyRandom("llama", hidden_size=32, seed=seed).load(torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        os.utime(path, (LONG_AGO + seed, LONG_AGO + seed))


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "base", 0)
    return tmp_path / "base"


@pytest.fixture
def hashed(monkeypatch):
    """The calls that hash weights."""
    calls, plain = [], base_fingerprint.tensors_fingerprint

    def count(tensors):
        calls.append(1)
        return plain(tensors)

    monkeypatch.setattr(base_fingerprint, "tensors_fingerprint", count)
    return calls


def loaded(folder, store, **settings):
    return load_backbone(Pretrained(str(folder)), device="cpu", store=store, **settings).fingerprint


def test_weights_are_hashed_once_for_the_files_that_they_come_from(folder, tmp_path, hashed):
    plain = loaded(folder, None)
    store = Store(tmp_path / "cache")
    assert [loaded(folder, store) for _ in range(3)] == [plain] * 3
    assert len(hashed) == 2  # without a store, and once with it
    assert {(content.kind, content.what) for content in contents(store)} == {("bases", "fingerprint of base")}


def test_other_weights_in_the_same_place_are_hashed_again(folder, tmp_path, hashed):
    store = Store(tmp_path / "cache")
    before = loaded(folder, store)
    save(folder, 1)
    after = loaded(folder, store)
    assert after != before
    assert after == loaded(folder, None)


def test_another_precision_has_another_fingerprint(folder, tmp_path, hashed):
    store = Store(tmp_path / "cache")
    assert loaded(folder, store) != loaded(folder, store, dtype="bfloat16")
    assert loaded(folder, store, dtype="bfloat16") == loaded(folder, None, dtype="bfloat16")


def test_files_that_have_just_been_written_are_hashed_every_time(folder, tmp_path, hashed):
    store = Store(tmp_path / "cache")
    os.utime(folder / "config.json")
    assert loaded(folder, store) == loaded(folder, store)
    assert len(hashed) == 2
    assert contents(store) == []


def test_a_damaged_record_is_made_anew(folder, tmp_path, hashed):
    store = Store(tmp_path / "cache")
    expected = loaded(folder, store)
    (record,) = (tmp_path / "cache" / "bases").glob("*/fingerprint.json")
    record.write_text('{"fingerprint": "another"}')
    with pytest.warns(UserWarning, match="damaged"):
        assert loaded(folder, store) == expected
    assert loaded(folder, store) == expected


def test_a_source_without_files_is_hashed_every_time(tmp_path, hashed):
    store = Store(tmp_path / "cache")
    for _ in range(2):
        load_backbone(TinyRandom("llama", hidden_size=32), device="cpu", store=store)
    assert len(hashed) == 2
    assert contents(store) == []
