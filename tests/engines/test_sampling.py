import pytest
import torch
from scipy.stats import chisquare

from mva.engines.base import Decoding
from mva.engines.sampling import TOP, choose, finite

N = 20_000


def decoding(temperature=1.0, top_p=1.0):
    return Decoding(max_new_tokens=1, stop_ids=(), temperature=temperature, top_p=top_p)


def draw(logits, settings, *, step=0):
    steps = torch.full((N,), step)
    return choose(logits.expand(N, -1), torch.arange(N), steps, settings)


def fits(tokens, probabilities):
    counts = tokens.bincount(minlength=len(probabilities)).numpy()
    expected = (probabilities.double() / probabilities.double().sum()).numpy() * len(tokens)
    return chisquare(counts, expected).pvalue > 0.001


def test_temperature_0_takes_the_argmax():
    assert choose(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([5]), torch.tensor([0]), decoding(0.0)).tolist() == [1]


def test_samples_come_from_the_tempered_nucleus():
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -4.0])
    probabilities = (logits / 1.5).softmax(0)
    assert probabilities[:4].sum() < 0.95  # five tokens make the nucleus, the sixth is outside
    tokens = draw(logits, decoding(1.5, 0.95))
    assert 5 not in tokens
    assert fits(tokens, probabilities[:5])


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_more_tokens_than_the_top_are_sampled_exactly(top_p):
    logits = torch.linspace(0.0, -3.0, 3 * TOP)[torch.randperm(3 * TOP, generator=torch.Generator().manual_seed(0))]
    ordered, ids = logits.softmax(0).sort(descending=True)
    inside = ordered.cumsum(0) - ordered < top_p
    assert inside.sum() > TOP  # the nucleus reaches beyond the top
    place = torch.empty_like(ids)
    place[ids] = torch.arange(len(ids))
    assert fits(place[draw(logits, decoding(1.0, top_p))], ordered[inside])


def test_a_row_depends_on_its_seed_and_step_alone():
    logits = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    seeds, steps = torch.tensor([3, 1, 3, 7]), torch.tensor([0, 1, 2, 3])
    together = choose(logits, seeds, steps, decoding())
    alone = [choose(logits[k : k + 1], seeds[k : k + 1], steps[k : k + 1], decoding()) for k in range(4)]
    assert together.tolist() == torch.cat(alone).tolist()
    same = logits[:1].expand(50, -1)
    assert len(set(choose(same, torch.arange(50), torch.zeros(50).long(), decoding()).tolist())) > 20
    assert len(set(choose(same, torch.zeros(50).long(), torch.arange(50), decoding()).tolist())) > 20


def test_close_distributions_agree_on_nearly_all_tokens_under_common_numbers():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(1000, generator=generator)
    close = logits + 0.05 * torch.randn(1000, generator=generator)
    distance = (logits.softmax(0) - close.softmax(0)).abs().sum() / 2
    agree = (draw(logits, decoding()) == draw(close, decoding())).double().mean()
    assert agree > (1 - distance) / (1 + distance) - 0.01  # what Gumbel coupling promises
    independent = (draw(logits, decoding()) == draw(close, decoding(), step=1)).double().mean()
    assert independent < 0.1


def test_logits_that_are_not_finite_are_seen():
    logits = torch.tensor([[0.0, 1.0], [float("nan"), 0.0], [float("inf"), 0.0], [-float("inf"), 0.0]])
    assert finite(logits).tolist() == [True, False, False, True]
