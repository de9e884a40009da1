from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit

from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.data.tokenization import TokenLimits
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.rewards.agreement import held_out_accuracy
from mva.rewards.base import EnsembleReward, RewardContext
from mva.rewards.preference_head import PreferenceHead

HEAD = PreferenceHead(
    layers=[0.5, 1.0],
    pooling=["mean", "last"],
    inverse_penalties=[1e-2, 1e-1],
    limits=TokenLimits(200, 200),
    folds=4,
    batch_size=16,
)


def courteous(k):
    """A pair whose chosen response says please, in one of several wordings."""
    wording = ["{}, take this one", "this one, {}", "I would say {} to that"][k % 3]
    return PreferencePair(user_prompt(f"Question {k}?"), wording.format("please"), wording.format("go awa"))


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def context(backbone, tmp_path_factory):
    pairs = [courteous(k) for k in range(32)]
    data = ValueData("courtesy", train=tuple(pairs[:20]), validation=(), test=tuple(pairs[20:]))
    policy = SimpleNamespace(values=())
    return RewardContext("courtesy", backbone, data, Store(tmp_path_factory.mktemp("store")), policy, {})


def training_features(context):
    head = HEAD.build(context)
    pairs = context.data.train
    texts = [(p.prompt, p.chosen) for p in pairs] + [(p.prompt, p.rejected) for p in pairs]
    return head, head.features(texts).numpy()


def test_a_head_learns_what_its_features_show(context):
    assert held_out_accuracy(HEAD.build(context), context.data.test).accuracy >= 0.9


def test_swapping_chosen_and_rejected_turns_the_score_around(context):
    swapped = tuple(replace(p, chosen=p.rejected, rejected=p.chosen) for p in context.data.train)
    other = HEAD.build(replace(context, data=replace(context.data, train=swapped)))
    prompts, responses = zip(*[(p.prompt, p.chosen) for p in context.data.test], strict=True)
    torch.testing.assert_close(
        other.score(prompts, responses), -HEAD.build(context).score(prompts, responses), atol=1e-3, rtol=1e-3
    )


def test_training_responses_have_mean_zero_and_unit_deviation(context):
    head, x = training_features(context)
    scores = x @ head.weight.numpy() - head.offset
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    assert scores.std() == pytest.approx(1)


def test_the_weights_minimise_the_penalised_bradley_terry_loss(context):
    """The gradient of `-sum log sigmoid(w . d) + ||w||^2 / (2C)` vanishes at the weights, up to a unit."""
    head, x = training_features(context)
    scale = x.std(axis=0)
    chosen, rejected = np.split(x / scale, 2)
    difference, inverse_penalty = chosen - rejected, head.report["inverse_penalty"]
    direction = head.weight.numpy() * scale

    def gradient(unit):
        w = unit * direction
        return -expit(-difference @ w) @ difference + w / inverse_penalty

    unit = brentq(lambda u: gradient(u) @ direction, 1e-6, 1e3)
    assert np.abs(gradient(unit)).max() < 1e-3 * np.abs(gradient(0.0)).max()


def test_the_chosen_penalty_is_one_of_those_offered(context):
    report = HEAD.build(context).report
    assert min(abs(report["inverse_penalty"] - c) for c in HEAD.inverse_penalties) < 1e-12
    assert report["cross_validated_log_loss"] < np.log(2)


def test_the_report_tells_how_much_the_score_follows_length(context):
    head, x = training_features(context)
    scores = x @ head.weight.numpy()
    responses = [p.chosen for p in context.data.train] + [p.rejected for p in context.data.train]
    words = [len(response.split()) for response in responses]
    assert head.report["length_correlation"] == pytest.approx(np.corrcoef(scores, words)[0, 1])


def test_a_second_build_takes_the_head_from_the_store(context, backbone):
    first, ran = HEAD.build(context), []
    hook = backbone.model.model.register_forward_pre_hook(lambda *_: ran.append(1))
    try:
        second = replace(HEAD, batch_size=3).build(context)
    finally:
        hook.remove()
    assert not ran
    assert second.key == first.key
    assert torch.equal(second.weight, first.weight)
    assert (second.offset, second.report) == (first.offset, first.report)


def test_the_key_follows_pairs_and_settings(context):
    key = HEAD.build(context).key
    fewer = replace(context, data=replace(context.data, train=context.data.train[:-1]))
    assert HEAD.build(fewer).key != key
    assert replace(HEAD, layers=[0.5]).build(context).key != key
    assert replace(HEAD, pooling=["last"]).build(context).key != key


def test_validation_and_test_pairs_do_not_touch_the_head(context):
    other = replace(context, data=replace(context.data, validation=context.data.test, test=()))
    assert HEAD.build(other).key == HEAD.build(context).key


def test_heads_of_several_values_share_features(context, backbone):
    one = HEAD.build(context)
    other = HEAD.build(replace(context, value="brevity", data=replace(context.data, train=context.data.train[::-1])))
    prompts, responses = zip(*[(p.prompt, p.chosen) for p in context.data.test], strict=True)
    one.score(prompts, responses)
    ran = []
    hook = backbone.model.model.register_forward_pre_hook(lambda *_: ran.append(1))
    try:
        other.score(prompts, responses)
    finally:
        hook.remove()
    assert not ran


def test_too_few_prompts_are_refused(context):
    few = replace(context, data=replace(context.data, train=context.data.train[:3]))
    with pytest.raises(ValueError, match="'courtesy' needs training pairs of at least 4 prompts"):
        HEAD.build(few)


@pytest.mark.parametrize("layers", [[], [0.0], [0.5, 1.5]], ids=str)
def test_layers_out_of_the_model_are_refused(layers):
    with pytest.raises(ValueError, match=r"^layers.* is"):
        replace(HEAD, layers=layers)


def test_the_ensembles_score_is_that_of_the_head_alone_bit_for_bit(context):
    alone, ensemble = replace(HEAD, members=1).build(context), HEAD.build(context)
    prompts, responses = zip(*[(p.prompt, p.chosen) for p in context.data.test], strict=True)
    assert torch.equal(alone.score(prompts, responses), ensemble.score(prompts, responses))
    assert alone.key == ensemble.key
    assert not isinstance(alone, EnsembleReward)
    assert isinstance(ensemble, EnsembleReward)


def test_the_first_member_is_the_head_and_all_are_standardised(context):
    head, x = training_features(context)
    assert torch.equal(head.members[0], head.weight)
    scores = x @ head.members.numpy().T - head.offsets.numpy()
    assert scores.shape == (len(x), 8)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scores.std(axis=0), 1)


def test_disagreement_is_the_standard_deviation_over_the_members(context):
    head, _ = training_features(context)
    prompts, responses = zip(*[(p.prompt, p.rejected) for p in context.data.test], strict=True)
    x = head.features(list(zip(prompts, responses, strict=True))).numpy()
    by_hand = np.std(x @ head.members.numpy().T - head.offsets.numpy(), axis=1, ddof=1)
    np.testing.assert_allclose(head.disagreement(prompts, responses).numpy(), by_hand)
    assert by_hand.min() > 0


def test_fewer_members_are_the_first_of_more_and_all_come_from_the_store(context):
    few, many = replace(HEAD, members=3).build(context), HEAD.build(context)
    assert torch.equal(few.members, many.members[:3])
    assert torch.equal(HEAD.build(context).members, many.members)


def test_a_head_that_was_stored_without_an_ensemble_gets_one(context, backbone, tmp_path):
    elsewhere = replace(context, store=Store(tmp_path))
    alone = replace(HEAD, members=1).build(elsewhere)
    ensemble = HEAD.build(elsewhere)
    assert torch.equal(ensemble.weight, alone.weight)
    torch.testing.assert_close(ensemble.members, HEAD.build(context).members)
