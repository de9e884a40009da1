"""Limits against candidates whose scores and responses are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mva.analysis import limits
from mva.analysis.front_view import front_view
from mva.analysis.limits import ANY_CANDIDATE, Limit, choose, selection
from mva.checks import BadSetting
from mva.runs.run_folder import read_run

VALUES = ("helpful", "harmless")


def wanted(most=None, **bounds):
    return selection(most, bounds, values=VALUES, by_pairs=False)


@pytest.fixture
def run(tmp_path, write_noisy_run):
    """Nine candidates on a grid, nearly without noise: helpful is x - 0.4 y, harmless y - 0.4 x; words are 10 x + 1."""
    folder = write_noisy_run(tmp_path / "run", n_prompts=40, own=0.001, of_seeds=0.0)
    of_candidate = {line["id"]: line["coefficients"] for line in _lines(folder / "candidates.jsonl")}
    generations = _lines(folder / "generations.jsonl")
    for number, line in enumerate(generations):
        x = of_candidate[line["id"]]["helpful"]
        refused = x == 0 and number % 2 == 0
        line["response"] = " ".join(
            ["I cannot" if refused else "so well", *map(str, range(round(10 * x) - 1 + number % 2))]
        )
    (folder / "generations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in generations))
    return read_run(folder)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def chosen(run, **bounds):
    answer = choose(run, front_view(run), wanted("harmless", **bounds))
    return answer, tuple(answer.candidate.coefficients.values())


def test_nothing_asked_is_no_answer(run):
    assert choose(run, front_view(run), ANY_CANDIDATE) is None


def test_the_most_harmless_that_keeps_a_share_of_the_best_gain(run):
    # Gains in helpful are x - 0.4 y: 1 is the best; (0.5, 0) keeps 50 %, (1, 1) 60 %, (1, 0.5) 80 %.
    assert chosen(run, helpful="55%")[1] == (1.0, 1.0), "harmless 0.6"
    assert chosen(run, helpful="75%")[1] == (1.0, 0.5), "harmless 0.1"
    answer, coefficients = chosen(run, helpful="95%")
    assert coefficients == (1.0, 0.0), "harmless -0.4"
    assert (answer.keeps, answer.n_keeping, answer.undecided, answer.n_prompts) == (True, 1, (), 40)


def test_without_limits_the_best_of_the_value_is_taken(run):
    answer, coefficients = chosen(run)
    assert coefficients == (0.0, 1.0)
    assert answer.keeps
    assert answer.standings == {}


def test_of_several_limits_all_have_to_be_kept(run):
    assert chosen(run, words=8)[1] == (0.0, 1.0)
    assert chosen(run, words=8, refusals="20%")[1] == (0.5, 1.0), "half of the prompts are refused where x is 0"
    assert chosen(run, refusals=0.2, helpful="75%")[1] == (1.0, 0.5)
    assert chosen(run, harmless=0.7)[1] == (0.0, 1.0)


def test_where_nothing_keeps_them_the_nearest_is_named(run):
    answer, coefficients = chosen(run, helpful="95%", words=8)
    assert not answer.keeps
    assert answer.n_keeping == 0
    assert coefficients in {(0.5, 0.0), (1.0, 0.0)}, "each breaks one of the limits"
    assert "breaks" in {standing.verdict for standing in answer.standings[answer.candidate.id]}


def test_the_base_is_never_recommended(run):
    view = front_view(run)
    base = next(candidate.id for candidate in view.candidates if candidate.kind == "base")
    answer = choose(run, view, wanted("harmless", words=5))
    assert base not in answer.standings
    assert answer.candidate.id != base


def test_gains_without_a_base_decide_nothing(run):
    view = front_view(run)
    without = replace(view, candidates=tuple(c for c in view.candidates if c.kind != "base"))
    answer = choose(run, without, wanted("harmless", helpful="50%"))
    assert not answer.keeps
    assert answer.standings == {}


def test_too_few_prompts_decide_nothing(tmp_path, write_noisy_run):
    run = read_run(write_noisy_run(tmp_path / "run", n_prompts=9, own=0.001))
    answer = choose(run, front_view(run), wanted(words=50))
    assert {standing.verdict for rows in answer.standings.values() for standing in rows} == {"undecided"}
    assert len(answer.undecided) == 8
    assert not answer.keeps


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"kl": 1}, "select.limits.kl names neither"),
        ({"words": -1}, "at least 0"),
        ({"words": "50%"}, "at least 0"),
        ({"refusals": 1.5}, "0% to 100%"),
        ({"repetition": "nan%"}, "0% to 100%"),
        ({"helpful": "most"}, "share of the best gain"),
        ({"helpful": "120%"}, "share of the best gain"),
    ],
)
def test_limits_that_make_no_sense_are_refused(bounds, words):
    with pytest.raises(BadSetting, match=words):
        wanted(**bounds)


def test_a_value_that_is_not_there_and_costs_without_responses_are_refused():
    with pytest.raises(BadSetting, match=r"select\.most is 'honest'"):
        wanted("honest")
    with pytest.raises(BadSetting, match="needs responses"):
        selection(None, {"words": 5}, values=VALUES, by_pairs=True)
    with pytest.raises(BadSetting, match="both a value and a side cost"):
        selection(None, {"words": 5}, values=("words",), by_pairs=False)
    assert selection(None, {"helpful": "90%"}, values=VALUES, by_pairs=True).limits == (Limit("helpful", "gain", 0.9),)


def test_scores_by_pairs_are_held_against_limits_of_values(run, score_by_pairs):
    alone = read_run(score_by_pairs(run.folder, run.folder))
    asked = selection("harmless", {"helpful": "50%"}, values=VALUES, by_pairs=True)
    answer = choose(alone, front_view(alone), asked)
    assert len(answer.standings) == 8
    assert answer.n_prompts == 20
    assert answer.candidate.coefficients["helpful"] == 1.0, "without helpful's vector there is no gain to keep"


def passing(limit, numbers):
    return np.mean([standing.verdict == "keeps" for standing in limits._against(limit, numbers)])


@pytest.mark.parametrize("n_prompts", [24, 100, 400])
def test_a_candidate_on_the_limit_keeps_it_in_at_most_about_one_of_forty_draws(n_prompts):
    generator = np.random.default_rng(11)
    draws = 4000
    spread = generator.normal(60, 20, (draws, n_prompts))
    assert passing(Limit("words", "cost", 60.0), spread) == pytest.approx(0.025, abs=0.008)
    refused = (generator.random((draws, n_prompts)) < 0.1).astype(float)
    assert passing(Limit("refusals", "cost", 0.1), refused) <= 0.035
    loops = np.where(generator.random((draws, n_prompts)) < 0.1, generator.uniform(0, 1, (draws, n_prompts)), 0.0)
    assert passing(Limit("repetition", "cost", 0.05), loops) <= 0.035


@pytest.mark.parametrize(("n_prompts", "share"), [(24, 0.092), (100, 0.061), (400, 0.039)])
def test_strongly_skewed_lengths_keep_it_more_often_as_the_docs_say(n_prompts, share):
    lengths = np.random.default_rng(12).lognormal(np.log(60) - 0.8**2 / 2, 0.8, (4000, n_prompts))
    assert passing(Limit("words", "cost", 60.0), lengths) == pytest.approx(share, abs=0.015)


def test_no_refusal_among_few_prompts_does_not_mean_none():
    nothing = np.zeros((1, 24))
    (standing,) = limits._against(Limit("refusals", "cost", 0.1), nothing)
    z2 = 1.959964**2
    assert standing.high == pytest.approx(z2 / (24 + z2), abs=1e-6), "Wilson's bound of 0 of n is z^2 / (n + z^2)"
    assert standing.verdict == "undecided"
    assert limits._against(Limit("refusals", "cost", 0.14), nothing)[0].verdict == "keeps"
