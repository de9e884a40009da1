"""Rank correlations against scipy, and what is said of them."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mva.analysis.pair_agreement import RankCorrelation, ValueAgreement, pair_agreement, raw_correlations, spearman
from mva.runs.run_folder import read_run


@pytest.fixture
def both(tmp_path, make_run_folder, score_by_pairs):
    def run(slope, **settings):
        folder = make_run_folder(tmp_path / "run", 2)
        return read_run(score_by_pairs(folder, folder / "pairs", slope=slope, **settings))

    return run


def agreement(low, high, *, along=None, n_prompts=40):
    return ValueAgreement("kind", RankCorrelation(0.5, low, high), along, 9, n_prompts)


def test_rank_correlations_are_scipy_s_with_ties():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (5, 12)), rng.standard_normal((5, 12))
    expected = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert spearman(first, second) == pytest.approx(expected)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (agreement(0.85, 0.95), "agree"),
        (agreement(0.5, 0.79), "disagree"),
        (agreement(0.5, 0.9), "undecided"),
        (agreement(0.85, 0.95, along=RankCorrelation(-0.5, -0.9, -0.1)), "disagree"),
        (agreement(0.85, 0.95, along=RankCorrelation(-0.5, -0.9, 0.1)), "agree"),
        (agreement(-0.5, 0.1, n_prompts=9), "undecided"),
    ],
)
def test_the_rule(given, word):
    assert given.word == word


def test_pairs_that_follow_the_responses_are_told_from_those_that_oppose_them(both):
    # The made-up responses are equal on all prompts: three of them, too few for a verdict.
    (helpful, harmless) = pair_agreement(both(20.0))
    assert [helpful.value, harmless.value] == ["helpful", "harmless"]
    assert helpful.n_prompts == 3
    assert helpful.word == "undecided"
    assert helpful.everywhere.low > 0.8


def test_opposed_pairs_have_a_negative_correlation(both):
    run = both(-20.0)
    for each in pair_agreement(run):
        assert each.everywhere.high < 0
        assert each.everywhere.raw == pytest.approx(raw_correlations(run)[each.value])


def test_a_run_by_responses_alone_has_nothing_to_compare(tmp_path, make_run_folder):
    run = read_run(make_run_folder(tmp_path / "run", 2))
    assert pair_agreement(run) == []
    assert raw_correlations(run) == {}
