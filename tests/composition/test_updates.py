import pytest
import torch
from transformers.pytorch_utils import Conv1D

from mva.composition.dare import Dare
from mva.composition.ties import Ties
from mva.composition.updates import full_rank
from mva.models.adapter_files import load_adapter, save_adapter
from mva.models.backbone import load_backbone
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.models.merge import merged, truncate
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector

OMEGA = {"helpful": 1.0, "harmless": 0.5}


@pytest.fixture(params=["llama", "gpt2"])
def backbone(request):
    return load_backbone(TinyRandom(request.param), dtype="float64", device="cpu")


def trained(backbone, value, seed):
    """A vector with a B as training leaves it: not zero."""
    model = attach(backbone, LoraSpec(rank=2), name=value, seed=seed)
    vector = extract(model, value, base=backbone.fingerprint)
    detach(model)
    generator = torch.Generator().manual_seed(seed)
    factors = {
        name: LowRank(f.a.double(), torch.randn(f.b.shape, generator=generator, dtype=torch.float64), f.scaling)
        for name, f in vector.factors.items()
    }
    return ValueVector(value, factors, vector.base, metadata=vector.metadata)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_a_dense_update_is_kept_bit_for_bit_at_the_rank_of_its_smaller_side(shape):
    update = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    factor = full_rank(update)
    assert torch.equal(factor.update(), update)
    assert factor.a.shape[0] == min(shape)


@pytest.mark.parametrize("composition", [Ties(), Dare()], ids=lambda c: c.name)
def test_a_dense_vector_merges_is_stored_and_is_cut_like_any_other(composition, backbone, tmp_path):
    made = [trained(backbone, value, seed) for seed, value in enumerate(OMEGA)]
    composed = composition.compose(made, OMEGA)
    modules = {name: backbone.model.get_submodule(name) for name in composed.factors}
    weights = {name: module.weight.detach().clone() for name, module in modules.items()}
    with merged(backbone, composed):
        for name, factor in composed.factors.items():
            change = modules[name].weight.detach() - weights[name]
            dense = factor.update().T if isinstance(modules[name], Conv1D) else factor.update()
            torch.testing.assert_close(change, dense)
    save_adapter(composed, tmp_path)
    loaded = load_adapter(tmp_path, expect_base=backbone.fingerprint)
    assert all(torch.equal(loaded.factors[n].update(), f.update()) for n, f in composed.factors.items())
    assert truncate(composed, composed.rank)[1] == pytest.approx(0, abs=1e-12)
    assert truncate(composed, 2)[0].rank == 2
