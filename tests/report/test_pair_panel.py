"""What a run's page, tables and card say of scores by preference pairs, alone and beside those of responses."""

import csv
import io
import re

import pytest
from rich.console import Console

from mva.analysis.front_view import front_view
from mva.analysis.pair_agreement import RankCorrelation, ValueAgreement
from mva.report.page import write_report
from mva.report.tables import front_rows, summary
from mva.report.words import agreement_words
from mva.runs.run_folder import read_run


def printed(run):
    console = Console(record=True, width=220, file=io.StringIO())
    console.print(summary(run, front_view(run)))
    return console.export_text()


@pytest.fixture
def alone(tmp_path, make_run_folder, score_by_pairs):
    folder = make_run_folder(tmp_path / "run", 2)
    return score_by_pairs(folder, folder)


@pytest.fixture
def both(tmp_path, make_run_folder, score_by_pairs):
    folder = make_run_folder(tmp_path / "run", 2)
    return score_by_pairs(folder, folder / "pairs")


def test_a_run_by_pairs_alone_says_what_its_scores_are(alone):
    page = write_report(alone, forms=()).read_text()
    assert "scores are means of log sigmoid(beta * margin) over held-out preference pairs" in page
    assert "mean rewards" not in page
    assert "answered by the base" not in page  # there are no responses
    assert "<b>40</b>validation pairs of helpful on 20 prompts; 40 held out on 20" in page
    text = printed(read_run(alone))
    assert "Pareto front by preference pairs" in text
    assert "accuracy" in text


def test_accuracies_are_columns_of_the_front(alone):
    write_report(alone, forms=())
    columns, *rows = csv.reader((alone / "front.csv").read_text().splitlines())
    run = read_run(alone)
    for line in rows:
        row = dict(zip(columns, line, strict=True))
        for split, what in (("validation", "accuracy"), ("test", "held-out accuracy")):
            (scored,) = [c for c in run.candidates if c["id"] == row["id"] and c["split"] == split]
            assert float(row[f"helpful {what}"]) == scored["accuracies"]["helpful"]


def test_a_run_by_responses_has_no_column_of_accuracies(tmp_path, make_run_folder):
    run = read_run(make_run_folder(tmp_path / "run", 2))
    assert not any("accuracy" in column for column in front_rows(front_view(run))[0])
    page = write_report(run.folder, forms=()).read_text()
    assert "by-pairs" not in page


def test_a_run_by_both_has_a_second_panel_with_the_rank_correlations(both):
    page = write_report(both, forms=()).read_text()
    assert "scores are mean rewards" in page
    assert "harmless: 40 validation pairs on 20 prompts, 40 held out on 20." in page
    panel = page[page.index('id="by-pairs"') :]
    assert len(re.findall(r'id="front-1-\d+" class="plotly', panel)) == 1
    assert "front-0-0" in page
    assert re.search(r"<td>helpful</td><td>[01]\.\d\d \([01]\.\d\d to [01]\.\d\d\)</td>", panel)
    assert "rank correlation" in printed(read_run(both))


def agreement(low, high, along=None):
    return ValueAgreement("harmless", RankCorrelation(0.5, low, high), along, 25, 24)


def test_the_page_says_in_a_sentence_where_the_two_disagree():
    told = agreement_words(agreement(0.2, 0.7))
    assert told.startswith("Responses and pairs rank candidates differently in harmless: rank correlation 0.50")
    turned = agreement_words(agreement(0.2, 0.9, along=RankCorrelation(-0.8, -1.0, -0.4)))
    assert turned.startswith(
        "Pairs reverse the order of the front in harmless: rank correlation -0.80 (-1.00 to -0.40)"
    )
    assert "alike in harmless: rank" in agreement_words(agreement(0.85, 0.95))
    assert "undecided" in agreement_words(agreement(0.5, 0.9))
