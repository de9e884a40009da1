import pytest
import torch

from mva.data.preference import user_prompt
from mva.data.tokenization import TokenLimits
from mva.models import long_pass
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.rewards.features import HiddenFeatures

TEXTS = [(user_prompt(p), r) for p, r in [("Hi", "Hello."), ("Why?", "Because it is."), ("Hi", ""), ("x" * 30, "Y")]]
LIMITS = TokenLimits(200, 200)


def load(architecture, dtype="float64"):
    return load_backbone(TinyRandom(architecture, hidden_size=32, layers=4), dtype=dtype, device="cpu")


@pytest.fixture(scope="module")
def llama():
    return load("llama")


@pytest.fixture(scope="module")
def llama32():
    return load("llama", "float32")


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "opt", "gemma"])
@pytest.mark.parametrize("pooling", [("mean",), ("last",), ("mean", "last")], ids=str)
def test_features_are_the_pooled_hidden_states_of_one_text_at_a_time(architecture, pooling):
    backbone = load(architecture)
    found = HiddenFeatures(backbone, (0.5, 0.75), pooling, LIMITS, batch_size=3)(TEXTS)
    for row, (prompt, response) in zip(found, TEXTS, strict=True):
        before = backbone.template.prompt_ids(prompt)
        conversation = backbone.template.conversation_ids(prompt, response).ids
        with torch.no_grad():
            states = backbone.model(torch.tensor([conversation]), output_hidden_states=True).hidden_states
        response_states = [states[k][0, len(before) :] for k in (2, 3)]  # states[0] are the embeddings
        poolings = {"mean": lambda states: states.mean(0), "last": lambda states: states[-1]}
        expected = torch.cat([poolings[how](states) for states in response_states for how in pooling])
        torch.testing.assert_close(row, expected, atol=1e-9, rtol=1e-9)


def test_features_do_not_depend_on_batch_or_order(llama):
    expected = HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, batch_size=1)(TEXTS)
    found = HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, batch_size=4)(TEXTS[::-1])
    torch.testing.assert_close(found.flip(0), expected, atol=1e-9, rtol=1e-9)


def test_no_block_after_the_last_one_asked_for_runs(llama):
    ran = []
    hooks = [
        block.register_forward_pre_hook(lambda *_, k=k: ran.append(k))
        for k, block in enumerate(llama.model.model.layers)
    ]
    try:
        HiddenFeatures(llama, (0.25, 0.5), ("mean",), LIMITS, batch_size=4)(TEXTS)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [0, 1]


def test_the_model_is_left_without_hooks(llama):
    HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, batch_size=4)(TEXTS)
    assert not any(module._forward_hooks for module in llama.model.modules())


@pytest.fixture
def forwards(llama):
    """Count the batches that the model reads."""
    counted = []
    hook = llama.model.model.register_forward_pre_hook(lambda *_: counted.append(1))
    yield counted
    hook.remove()


def test_identical_texts_are_computed_once_and_those_of_the_last_call_not_again(llama, forwards):
    features, done = HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, batch_size=1), []
    first = features([TEXTS[0], TEXTS[1], TEXTS[0]])
    assert len(forwards) == 2
    second = features([TEXTS[1], TEXTS[0]], advance=done.append)
    assert len(forwards) == 2
    assert sum(done) == 2
    assert torch.equal(first, second[[1, 0, 1]])


def test_batches_are_those_of_the_texts_that_are_asked_for_whatever_came_before(llama):
    """Float arithmetic knows its batch: remembered texts and another order must change none."""
    batches = []
    keep_ids = llama.model.model.register_forward_pre_hook(
        lambda _module, _inputs, named: batches.append(named["input_ids"].tolist()), with_kwargs=True
    )
    try:
        features = HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, batch_size=2)
        for texts in (TEXTS[1:], TEXTS[:3], TEXTS[:0:-1]):
            features(texts)
    finally:
        keep_ids.remove()
    alone, between, again = batches[:2], batches[2:4], batches[4:]
    assert again == alone
    assert between != alone


@pytest.mark.parametrize("n_batches", [1, 2, 3])
def test_a_call_that_was_killed_goes_on_behind_its_last_part(llama, forwards, tmp_path, monkeypatch, n_batches):
    monkeypatch.setattr(long_pass, "EVERY", 0.0)
    whole = HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, batch_size=1)(TEXTS)
    forwards.clear()

    def killed(_done):
        if len(forwards) > n_batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, 1, Store(tmp_path))(TEXTS, advance=killed)
    forwards.clear()
    resumed = HiddenFeatures(llama, (0.5,), ("mean",), LIMITS, 1, Store(tmp_path))(TEXTS)
    assert len(forwards) == len(TEXTS) - n_batches
    assert torch.equal(resumed, whole)


def test_features_that_are_not_finite_are_refused_with_their_response(llama32, tmp_path):
    features = HiddenFeatures(llama32, (0.5,), ("mean",), LIMITS, 4, Store(tmp_path))
    norm = llama32.model.model.layers[0].input_layernorm.weight
    kept_values = norm.detach().clone()
    norm.data.fill_(float("inf"))
    try:
        with pytest.raises(FloatingPointError, match=r"not finite for the response .*model\.dtype"):
            features(TEXTS)
    finally:
        norm.data.copy_(kept_values)
    assert list(tmp_path.iterdir()) == []


def test_too_long_prompts_lose_the_beginning_of_their_content_and_responses_their_end(llama):
    prompt, response = user_prompt("x" * 50 + "end"), "y" * 50
    scaffold = len(llama.template.prompt_ids(user_prompt("")))
    limits = TokenLimits(scaffold + 3, 6)
    (found,) = HiddenFeatures(llama, (1.0,), ("mean",), limits, batch_size=1)([(prompt, response)])
    ids = llama.template.conversation_ids(user_prompt("end"), response).ids[: scaffold + 3 + 6]
    with torch.no_grad():
        block_output = []
        hook = llama.model.model.layers[3].register_forward_hook(lambda _m, _i, output: block_output.append(output))
        llama.model(torch.tensor([ids]))
        hook.remove()
    torch.testing.assert_close(found, block_output[0][0, scaffold + 3 :].mean(0))
