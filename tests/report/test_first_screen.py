"""The four answers that a page begins with, against the numbers behind them."""

import json
from dataclasses import replace

import pytest

from mva.analysis.choice import Gain, balanced, gain_of, gains
from mva.analysis.front_view import front_view
from mva.report.first_screen import first_screen
from mva.report.page import write_report
from mva.report.words import gain_words
from mva.runs.run_folder import read_run


@pytest.fixture
def run(tmp_path, make_run_folder):
    make_run_folder(tmp_path / "run", 2)
    return read_run(tmp_path / "run")


def test_the_balanced_candidate_is_the_best_of_scaled_scores_by_hand(run):
    view = front_view(run)
    columns = {value: [c.scores[value] for c in view.candidates] for value in view.values}

    def utility(candidate):
        return sum((candidate.scores[v] - min(s)) / (max(s) - min(s)) for v, s in columns.items())

    best = max(view.candidates, key=utility)
    assert balanced(view).id == best.id
    assert balanced(view).on_front


def test_gains_are_paired_differences_from_the_base_on_held_out_prompts(run):
    # Every prompt has the same reward, so that the interval is the difference itself; both splits shift alike.
    view = front_view(run)
    candidate, base = balanced(view), next(c for c in view.candidates if c.kind == "base")
    for value, gain in gains(run, view, candidate).items():
        expected = candidate.scores[value] - base.scores[value]
        assert (gain.difference, gain.low, gain.high, gain.n_prompts) == (*[pytest.approx(expected)] * 3, 3)
    assert gains(run, view, base) == {}
    assert gains(replace(run, generations=()), view, candidate) == {}


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Gain(0.5, 0.1, 0.9, 24, "better"), "+0.50 (+0.10 to +0.90: better)"),
        (Gain(-0.5, -0.9, -0.1, 24, "worse"), "-0.50 (-0.90 to -0.10: worse)"),
        (gain_of({"difference": 0.5, "low": -0.1, "high": 1.1, "n_prompts": 24}), "+0.50 (-0.10 to +1.10: undecided)"),
    ],
)
def test_a_difference_is_said_with_what_it_decides(gain, words):
    assert gain_words(gain) == words


def test_the_four_questions_are_answered_in_order_and_with_the_runs_numbers(run):
    take, sure, penalty, surer = first_screen(run, front_view(run))
    chosen = balanced(front_view(run)).id
    assert chosen in take.answer
    assert f"candidate={chosen}" in take.command
    assert "the base" in sure.answer
    assert "Dependence by HSIC: 0.01, 0.02 without the penalty, 0.011 by chance." in penalty.reasons
    assert any(
        "80% of the norm" in reason and "-0.10 (-0.30 to +0.10: undecided)" in reason for reason in penalty.reasons
    )
    assert surer.answer == "Better rewards, then more prompts.", "the reward of helpful agrees with 55 % of its pairs"
    assert any("evaluation.n_validation_prompts=80" in reason for reason in surer.reasons)


def test_a_run_without_measured_dependence_says_so(run):
    *_, penalty, _ = first_screen(replace(run, dependence={}, preservation={}), front_view(run))
    assert penalty.answer == "Not measured."


def test_the_page_begins_with_the_answers(run):
    page = write_report(run.folder, forms=[]).read_text()
    places = [page.index(card.question) for card in first_screen(run, front_view(run))]
    assert places == sorted(places)
    assert places[-1] < page.index("<h2>Front</h2>")
    assert json.dumps(balanced(front_view(run)).id)[1:-1] in page
