"""The reference policy's log-probs against the same token by token, and from the store."""

import pytest
import torch

from mva.data.tokenization import TokenizedPair
from mva.models import long_pass
from mva.models import reference as reference_module
from mva.models.backbone import load_backbone
from mva.models.reference import reference_log_probs
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store

PAIRS = [
    TokenizedPair((5, 9), (40,), (50, 51)),
    TokenizedPair((7, 8, 9, 10, 11), (60, 61, 62, 63), (70, 71)),
    TokenizedPair((11,), (80, 81), (90, 91, 92)),
    TokenizedPair((21, 22, 23), (30,), (31,)),
]


@pytest.fixture
def backbone():
    return load_backbone(TinyRandom("llama"), dtype="float64", device="cpu")


@torch.no_grad()
def by_hand(model, prompt, response):
    table = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
    return sum(table[len(prompt) - 1 + t, token] for t, token in enumerate(response)).item()


@pytest.mark.parametrize("tokens", [1, 20, 1000])
def test_they_are_those_of_each_response_alone_in_the_order_of_the_pairs(backbone, tmp_path, tokens):
    done = []
    found = reference_log_probs(backbone, PAIRS, Store(tmp_path), tokens=tokens, advance=done.append)
    expected = [[by_hand(backbone.model, p.prompt, r) for r in (p.chosen, p.rejected)] for p in PAIRS]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=1e-5)
    assert found.dtype == torch.float32
    assert sum(done) == len(PAIRS)


def test_they_are_computed_once(backbone, tmp_path, monkeypatch):
    first = reference_log_probs(backbone, PAIRS, Store(tmp_path))
    monkeypatch.setattr(reference_module, "_compute", None)  # any computation would fail now
    done = []
    assert torch.equal(reference_log_probs(backbone, PAIRS, Store(tmp_path), advance=done.append), first)
    assert done == [len(PAIRS)]


def test_other_pairs_and_other_bases_have_their_own(backbone, tmp_path):
    store = Store(tmp_path)
    first = reference_log_probs(backbone, PAIRS, store)
    turned = reference_log_probs(backbone, PAIRS[::-1], store)
    torch.testing.assert_close(turned.flip(0), first)
    stranger = load_backbone(TinyRandom("llama", seed=1), dtype="float64", device="cpu")
    assert not torch.allclose(reference_log_probs(stranger, PAIRS, store), first)


def test_no_pairs_have_none(backbone, tmp_path):
    assert reference_log_probs(backbone, [], Store(tmp_path)).shape == (0, 2)


@pytest.fixture
def batches(monkeypatch):
    """The sizes of the batches that are computed."""
    compute, sizes = reference_module._batch_log_probs, []

    def counted(backbone, pairs):
        sizes.append(len(pairs))
        return compute(backbone, pairs)

    monkeypatch.setattr(reference_module, "_batch_log_probs", counted)
    return sizes


@pytest.fixture
def killed_after(batches):
    """Something to call after each batch, which ends the pass in the batch after the given number of parts."""

    def make(n_parts):
        def advance(_done):
            if len(batches) > n_parts:
                raise KeyboardInterrupt

        return advance

    return make


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_a_killed_pass_repeats_the_batch_under_way_alone(
    backbone, tmp_path, monkeypatch, batches, killed_after, n_parts
):
    whole = reference_log_probs(backbone, PAIRS, Store(tmp_path / "whole"), tokens=1)
    monkeypatch.setattr(long_pass, "EVERY", 0.0)
    store = Store(tmp_path / "killed")
    batches.clear()
    with pytest.raises(KeyboardInterrupt):
        reference_log_probs(backbone, PAIRS, store, tokens=1, advance=killed_after(n_parts))
    assert not (store.root / "reference").exists()
    batches.clear()
    done = []
    assert torch.equal(reference_log_probs(backbone, PAIRS, store, tokens=1, advance=done.append), whole)
    assert len(batches) == len(PAIRS) - n_parts
    assert sum(done) == len(PAIRS)
    assert list(store.root.glob("parts/*")) == []


def test_a_damaged_part_and_those_behind_it_are_computed_again(backbone, tmp_path, monkeypatch, batches, killed_after):
    monkeypatch.setattr(long_pass, "EVERY", 0.0)
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        reference_log_probs(backbone, PAIRS, store, tokens=1, advance=killed_after(3))
    (part,) = store.root.glob("parts/*/1-2")
    (part / "rows.safetensors").write_bytes(b"")
    batches.clear()
    with pytest.warns(UserWarning, match=r"1-2 is damaged"):
        found = reference_log_probs(backbone, PAIRS, store, tokens=1)
    assert len(batches) == 3
    assert torch.equal(found, reference_log_probs(backbone, PAIRS, Store(tmp_path / "whole"), tokens=1))


def test_a_pass_under_the_interval_writes_no_parts(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(long_pass.LongPass, "_write", None)
    reference_log_probs(backbone, PAIRS, Store(tmp_path), tokens=1)


def test_parts_that_find_no_place_are_told_and_the_pass_ends(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(long_pass, "EVERY", 0.0)
    (tmp_path / "parts").touch()
    with pytest.warns(UserWarning, match=r"A kill would undo this pass .*parts is in the way") as warned:
        found = reference_log_probs(backbone, PAIRS, Store(tmp_path), tokens=1)
    assert torch.isfinite(found).all()
    assert len(warned) == 1


def test_log_probs_that_are_not_finite_are_refused_and_not_stored(tmp_path):
    broken = load_backbone(TinyRandom("llama"), device="cpu")
    broken.model.model.norm.weight.data.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match=r"log-probs \[nan, nan\] to a preference pair: .*model\.dtype"):
        reference_log_probs(broken, PAIRS, Store(tmp_path))
    assert not (tmp_path / "reference").exists()
