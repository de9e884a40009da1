"""The words of limits and of what is chosen under them."""

import pytest

from mva.analysis.front_view import front_view
from mva.analysis.limits import Limit, Selection, Standing, choose
from mva.report.limit_words import answer_lines, limit_words, short_words, standing_rows, standing_words
from mva.runs.run_folder import read_run


@pytest.mark.parametrize(
    ("limit", "words", "numbers", "standing"),
    [
        (Limit("words", "cost", 60.0), "words at most 60", (24.06, 22.0, 1026.2), "24.1 (22 to 1026.2)"),
        (Limit("refusals", "cost", 0.125), "refusals at most 12.5%", (0.0, 0.0, 0.1380), "0% (0% to 13.8%)"),
        (Limit("helpful", "score", -0.5), "helpful at least -0.5", (0.1, -0.5, 0.7), "0.10 (-0.50 to 0.70)"),
        (
            Limit("helpful", "gain", 0.975),
            "97.5% of the best gain in helpful",
            (0.1, 0.0, 0.2),
            "+0.10 (+0.00 to +0.20)",
        ),
    ],
)
def test_each_kind_in_its_unit(limit, words, numbers, standing):
    assert limit_words(limit) == words
    assert standing_words(Standing(limit, *numbers, "keeps", 9.0)) == f"{standing}: keeps"


def test_too_few_prompts_are_said(tmp_path, make_run_folder):
    run = read_run(make_run_folder(tmp_path / "run", 2, text="plain"))
    limit = Limit("words", "cost", 60.0)
    answer = choose(run, front_view(run), Selection(None, (limit,)))
    first, *_, last = answer_lines(answer)
    assert first.startswith(
        "No candidate keeps the limits (words at most 60) with 95% confidence on 3 held-out prompts"
    )
    assert last == "Fewer than 10 held-out prompts decide nothing: raise evaluation.n_test_prompts."
    assert short_words(answer) == "nearest to the limits"
    columns, rows = standing_rows(answer)
    assert columns == ["candidate", "words at most 60"]
    assert len(rows) == 13, "14 candidates without the base"


def test_limits_without_responses_say_what_they_need(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    (folder / "generations.jsonl").unlink()
    run = read_run(folder)
    answer = choose(run, front_view(run), Selection(None, (Limit("words", "cost", 60.0),)))
    (line,) = answer_lines(answer)
    assert "can't be held against held-out prompts" in line


def test_a_value_without_limits_is_named(tmp_path, make_run_folder):
    run = read_run(make_run_folder(tmp_path / "run", 2))
    answer = choose(run, front_view(run), Selection("harmless", ()))
    assert answer_lines(answer) == [
        f"harmless 1 ({answer.candidate.id}) has the highest score of harmless on validation prompts."
    ]
