"""Sweeps whose jobs were scored by preference pairs, alone or as a second record."""

import io
import json

import pytest
from rich.console import Console

from mva.analysis.sweep_view import sweep_view
from mva.report.sweep_page import write_sweep
from mva.report.sweep_tables import AGREEMENT, job_rows, sweep_summary
from mva.runs.sweep_folder import Outcome

SLOPES = {"penalty.strength=0": 20.0, "penalty.strength=1": -25.0}


@pytest.fixture
def sweep(tmp_path, make_run_folder, score_by_pairs):
    def build(home):
        for number, (override, slope) in enumerate(SLOPES.items()):
            folder = make_run_folder(tmp_path / override, 2)
            Outcome("run", number, [override], "hash", "finished", 3.0, 0.5).write(folder)
            score_by_pairs(folder, folder / home, slope=slope)
        return tmp_path

    return build


def text_of(view):
    console = Console(file=io.StringIO(), width=220)
    console.print(sweep_summary(view))
    return console.file.getvalue()


def test_jobs_by_the_same_pairs_have_one_front_and_are_compared_on_held_out_pairs(sweep):
    view = sweep_view(sweep(""))
    (front,) = view.fronts
    assert front.scored_by == "pairs"
    assert view.by_pairs == ()
    assert front.reward_keys == {"helpful": "pairs helpful", "harmless": "pairs harmless"}
    page = (write_sweep(view.folder).folder / "report.html").read_text()
    assert "log sigmoid(beta * margin)" in page
    record = json.loads((view.folder / "sweep.json").read_text())
    assert record["fronts"][0]["settings"][1]["difference_held_out"] is not None


def test_second_records_have_fronts_of_their_own_beside_those_of_responses(sweep):
    view = write_sweep(sweep("pairs"))
    assert [front.scored_by for front in view.fronts] == ["responses"]
    assert [front.scored_by for front in view.by_pairs] == ["pairs"]
    columns, rows = job_rows(view)
    correlations = [row[columns.index(AGREEMENT)] for row in rows]
    assert correlations[0].startswith("helpful 1.00")
    assert correlations[1].startswith("helpful -0.9")
    page = (view.folder / "report.html").read_text()
    panel = page[page.index('id="by-pairs"') :]
    assert 'id="front-1-0"' in panel
    assert "The settings by pairs as a table" in panel
    record = json.loads((view.folder / "sweep.json").read_text())
    assert [front["scored_by"] for front in record["fronts_by_pairs"]] == ["pairs"]
    assert "Settings, by preference pairs" in text_of(view)


def test_a_sweep_by_responses_says_nothing_of_pairs(tmp_path, make_run_folder):
    for number, override in enumerate(SLOPES):
        folder = make_run_folder(tmp_path / override, 2)
        Outcome("run", number, [override], "hash", "finished", 3.0, 0.5).write(folder)
    view = write_sweep(tmp_path)
    assert AGREEMENT not in job_rows(view)[0]
    assert "by-pairs" not in (tmp_path / "report.html").read_text()
