import pytest
import torch

from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import ARCHITECTURES, TinyRandom


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_is_given_contiguous_rows_whatever_part_of_them_decoding_asks_for(architecture):
    model = load_backbone(TinyRandom(architecture), dtype="float64", device="cpu").model
    seen = []
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    with torch.no_grad():
        whole, last = model(ids).logits, model(ids, logits_to_keep=1).logits
    assert all(rows.is_contiguous() for rows in seen)
    assert [rows.shape[1] for rows in seen] == [3, 1]
    torch.testing.assert_close(last, whole[:, -1:])
