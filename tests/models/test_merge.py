import pytest
import torch

from mva.models.backbone import load_backbone
from mva.models.merge import merged, rounding_error
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector

NAME = "model.layers.0.self_attn.q_proj"


def filled(dtype, weight, update):
    """A backbone with one projection of equal weights, and a vector that adds the same to each of them."""
    backbone = load_backbone(TinyRandom("llama"), dtype=dtype, device="cpu")
    projection = backbone.model.get_submodule(NAME)
    projection.weight.data.fill_(weight)
    d_out, d_in = projection.weight.shape
    factor = LowRank(torch.ones(1, d_in), torch.full((d_out, 1), update), 1.0)
    return backbone, ValueVector("helpful", {NAME: factor}, backbone.fingerprint)


@pytest.mark.parametrize(
    ("dtype", "update", "lost"),
    [
        # The step of bfloat16 above 1 is 2^-7; halves go to the even neighbour.
        ("bfloat16", 2**-7, 0.0),
        ("bfloat16", 2**-9, 1.0),
        ("bfloat16", 1.25 * 2**-7, 0.2),
        ("float32", 1.25 * 2**-7, 0.0),
    ],
)
def test_what_rounding_takes_is_what_the_merged_weights_lack(dtype, update, lost):
    backbone, vector = filled(dtype, 1.0, update)
    assert rounding_error(backbone, vector) == pytest.approx(lost, abs=1e-12)
    with merged(backbone, vector) as model:
        kept = model.get_submodule(NAME).weight.double() - 1
    torch.testing.assert_close(kept, torch.full_like(kept, update * (1 - lost)))


def test_a_vector_of_nothing_loses_nothing():
    assert rounding_error(*filled("bfloat16", 1.0, 0.0)) == 0.0
