import pytest
import torch

from mva.models.backbone import load_backbone
from mva.models.slots import SlotCache, prefill, step
from mva.models.sources.tiny_random import ARCHITECTURES, TinyRandom


def logits_of(model, texts):
    return torch.stack([model(torch.tensor([text])).logits[0, -1] for text in texts])


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_texts_in_slots_have_the_logits_of_texts_alone(architecture):
    backbone = load_backbone(TinyRandom(architecture), dtype="float64", device="cpu")
    model = backbone.model
    assert backbone.capabilities.slots
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(3, 200, (size,), generator=generator).tolist() for size in (7, 12, 4)]
    cache = SlotCache(4, capacity=8)  # grows twice
    found = prefill(model, cache, texts[:2], [2, 1])
    torch.testing.assert_close(found, logits_of(model, texts[:2]), atol=1e-5, rtol=0)
    prefill(model, cache, texts[2:], [0])
    cache.copy(2, 3)
    rows = [texts[2], texts[1], texts[0], list(texts[0])]
    for token in (5, 6, 7):
        lengths = torch.tensor([len(row) for row in rows])
        for k, row in enumerate(rows):
            row.append(token + k)
        found = step(model, cache, torch.arange(token, token + 4), lengths)
        torch.testing.assert_close(found, logits_of(model, rows), atol=1e-5, rtol=0)
    cache.copy(3, 0)  # the first text has ended, the last one moves into its slot
    rows = [rows[3], *rows[1:3]]
    lengths = torch.tensor([len(row) for row in rows])
    found = step(model, cache, torch.tensor([9, 9, 9]), lengths)
    torch.testing.assert_close(found, logits_of(model, [[*row, 9] for row in rows]), atol=1e-5, rtol=0)
