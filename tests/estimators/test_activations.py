import pytest
import torch

from mva.data.tokenization import TokenizedPair
from mva.estimators.activations import Activations
from mva.estimators.correlation import Correlation
from mva.estimators.samples import per_module
from mva.models.backbone import load_backbone
from mva.models.probe import module_inputs
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank


def update(seed, d_in=5, d_out=4, rank=2):
    g = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((rank, d_in), (d_out, rank)))
    return LowRank(a, b, 0.5)


def test_samples_are_what_the_dense_update_adds_at_each_token():
    inputs = {name: torch.randn(7, 5, dtype=torch.float64) for name in ("first", "second")}
    seen = Activations().on(inputs)([update(0), update(1)], ["second", "first"])
    torch.testing.assert_close(seen[0], inputs["second"] @ update(0).update().T)
    torch.testing.assert_close(seen[1], inputs["first"] @ update(1).update().T)


def test_updates_that_differ_only_where_no_input_lies_are_the_same_function():
    x = torch.zeros(6, 5, dtype=torch.float64)
    x[:, :3] = torch.randn(6, 3, dtype=torch.float64)
    one = update(0)
    other = LowRank(one.a + torch.tensor([0, 0, 0, 1.0, -2.0], dtype=torch.float64), one.b, 0.5)
    measured = per_module(Correlation(), Activations().on({"m": x}), {"m": one}, [{"m": other}])
    assert measured["m"].item() == pytest.approx(1)
    assert per_module(Correlation(), Correlation.default_view, {"m": one}, [{"m": other}])["m"].item() < 0.9


def test_of_isotropic_inputs_it_is_the_cosine_of_the_updates():
    x = torch.eye(5, dtype=torch.float64)
    both = [
        per_module(Correlation(), view, {"m": update(0)}, [{"m": update(1)}])["m"]
        for view in (Activations().on({"m": x}), Correlation.default_view)
    ]
    torch.testing.assert_close(*both)


def test_without_inputs_it_refuses():
    with pytest.raises(ValueError, match="needs the modules' inputs"):
        Activations()([update(0)], ["m"])
    with pytest.raises(ValueError, match="tokens is 3: choose a whole number of at least 4"):
        Activations(tokens=3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt", "gpt_neox"])
def test_inputs_are_those_that_the_modules_meet_when_the_whole_text_is_read(architecture):
    backbone = load_backbone(TinyRandom(architecture), device="cpu")
    pairs = [TokenizedPair((3, 4, 5), tuple(range(6, 6 + n)), (9,)) for n in (3, 20, 20)]
    linear = [n for n, m in backbone.model.named_modules() if "attn" in n.lower() or "attention" in n.lower()]
    modules = [n for n in linear if hasattr(backbone.model.get_submodule(n), "weight")]
    before = [dict(module._forward_pre_hooks) for module in backbone.model.modules()]
    found = module_inputs(backbone, pairs, modules, tokens=15)
    for name in modules:
        assert len(found[name]) == 3 + 8 + 4
    name, seen = modules[0], []
    hook = backbone.model.get_submodule(name).register_forward_pre_hook(
        lambda _m, x: seen.append(x[0].reshape(-1, x[0].shape[-1]))
    )
    with torch.no_grad():
        backbone.model(torch.tensor([pairs[1].prompt + pairs[1].chosen]))
    hook.remove()
    torch.testing.assert_close(found[name][3], seen[0][3])
    torch.testing.assert_close(found[name][10], seen[0][-1])
    assert [dict(module._forward_pre_hooks) for module in backbone.model.modules()] == before
