import numpy as np
import pytest

from mva.pareto.dominance import non_dominated
from mva.statistics.membership import membership, near_front, stepped

GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)


def rewards(seed, *, sd=0.8, n_prompts=24):
    generator = np.random.default_rng(seed)
    truth = np.sqrt(GRID) - 0.4 * GRID[:, ::-1]
    shared = generator.normal(size=(1, n_prompts, 2))
    return truth, truth[:, None] + shared + generator.normal(scale=sd, size=(16, n_prompts, 2))


def test_without_noise_the_front_is_sure():
    truth, run = rewards(0, sd=1e-6)
    probability = membership(GRID, run)
    assert (probability[non_dominated(truth)] > 0.95).all()
    assert (probability[~non_dominated(truth)] < 0.01).all()


def test_what_prompts_do_to_all_candidates_does_not_make_the_front_unsure():
    _, run = rewards(0, sd=0.1)
    louder = run + 20 * np.random.default_rng(1).normal(size=(1, 24, 2))
    np.testing.assert_allclose(membership(GRID, louder), membership(GRID, run), atol=0.1)


def test_members_of_the_true_front_are_likely_and_others_not():
    said_of_members, said_of_others = [], []
    for seed in range(20):
        truth, run = rewards(seed)
        probability, true = membership(GRID, run), non_dominated(truth)
        said_of_members += probability[true].tolist()
        said_of_others += probability[~true].tolist()
    assert np.mean(said_of_members) > 0.6
    assert np.mean(said_of_others) < 0.5


def test_the_step_is_one_of_log_odds_and_falls_with_levels_and_certainty():
    half = np.array([0.5, 0.5, 0.5, 0.5])
    assert stepped(half, n_values=2) == pytest.approx(1 / (1 + np.exp(-9 / 2)))
    sure = np.array([0.0, 0.0, 1.0, 1.0])
    assert stepped(sure, n_values=2) == pytest.approx([0.0005, 0.0005, 0.9995, 0.9995])
    assert stepped(np.full(100, 0.5), n_values=2)[0] == pytest.approx(1 / (1 + np.exp(-9 / 10)))
    assert stepped(np.ones(1), n_values=1) == 1


def test_candidates_far_behind_the_front_are_left_out_first():
    scores = np.array([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.5, 0.5], [0.2, 0.2]])
    assert near_front(scores, 3).tolist() == [0, 1, 2]
    assert near_front(scores, 4).tolist() == [0, 1, 2, 3]
    assert near_front(scores, 99).tolist() == [0, 1, 2, 3, 4]


def test_thousands_of_candidates_have_probabilities():
    generator = np.random.default_rng(0)
    places = generator.uniform(size=(3000, 2))
    truth = np.sqrt(places) - 0.4 * places[:, ::-1]
    probability = membership(places, truth[:, None] + generator.normal(scale=0.3, size=(3000, 12, 2)))
    assert probability.shape == (3000,)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (probability == 0).sum() >= 2600
