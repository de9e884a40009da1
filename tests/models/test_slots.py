import pytest
import torch

from mva.models.backbone import load_backbone
from mva.models.slots import Prompts, SlotCache, prefill, step
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
    found = prefill(model, cache, [Prompts((), [texts[0]], [[2, 3]]), Prompts((), [texts[1]], [[1]])])
    torch.testing.assert_close(found, logits_of(model, texts[:2]), atol=1e-5, rtol=0)
    prefill(model, cache, [Prompts(texts[2][:3], [texts[2][3:]], [[0]])])
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


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_common_beginning_is_read_once(architecture):
    model = load_backbone(TinyRandom(architecture), dtype="float64", device="cpu").model
    beginning, endings = [5, 6, 7, 8], [[9], [10, 11, 12], [13, 14]]
    cache = SlotCache(4)
    found = prefill(model, cache, [Prompts(beginning, endings, [[0], [1, 3], [2]])])
    texts = [[*beginning, *ending] for ending in endings]
    torch.testing.assert_close(found, logits_of(model, texts), atol=1e-5, rtol=0)
    rows = [texts[0], texts[1], texts[2], texts[1]]
    found = step(model, cache, torch.tensor([3, 3, 3, 4]), torch.tensor([len(row) for row in rows]))
    longer = [[*row, token] for row, token in zip(rows, (3, 3, 3, 4), strict=True)]
    torch.testing.assert_close(found, logits_of(model, longer), atol=1e-5, rtol=0)
