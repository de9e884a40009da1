"""Choosing from the front by raw scores, and by those read off a surface."""

import json
from dataclasses import replace

import pytest

from mva.analysis.choice import balanced
from mva.analysis.front_view import front_view
from mva.pareto.surface import SurfaceFit, SurfaceRecord
from mva.report.chooser import chooser
from mva.report.first_screen import first_screen
from mva.report.page import write_report
from mva.report.tables import candidate_rows, front_rows, next_steps, surface_lines
from mva.runs.run_folder import read_run


@pytest.fixture
def run(tmp_path, make_run_folder):
    """A run whose surface prefers another candidate of the front than its raw scores do; `harmless` has none."""
    folder = make_run_folder(tmp_path / "run", 2)
    view = front_view(read_run(folder))
    raw = balanced(view)
    preferred = next(candidate for candidate in view.on_front if candidate.id != raw.id)
    scores = {candidate.id: {"helpful": candidate.scores["helpful"]} for candidate in view.candidates}
    scores[preferred.id] = {"helpful": 9.0}
    fits = {"helpful": SurfaceFit(0.4, used=True, worth=3.2), "harmless": SurfaceFit(0.01, used=False, worth=1.0)}
    errors = {id_: {"helpful": 0.03} for id_ in scores}
    front = replace(view.front, surface=SurfaceRecord(fits, scores, errors))
    (folder / "front.json").write_text(json.dumps(front.to_json()))
    return read_run(folder), raw.id, preferred.id


def test_the_choice_is_by_the_scores_that_the_run_names(run):
    files, raw, preferred = run
    assert balanced(front_view(files)).id == raw
    by_surface = replace(files, front=replace(files.front, select_by="surface"))
    view = front_view(by_surface)
    assert balanced(view).id == preferred
    assert f"candidate={preferred}" in next_steps(by_surface, view)[0]
    assert "read off their surfaces" in first_screen(by_surface, view)[0].reasons[0]
    data = {candidate["id"]: candidate for candidate in chooser(by_surface, view)["candidates"]}
    assert data[preferred]["choosing"]["helpful"] == 9.0
    assert data[preferred]["choosing"]["harmless"] == data[preferred]["scores"]["harmless"]


def test_tables_have_raw_and_surface_scores_side_by_side(run):
    files, _, preferred = run
    view = front_view(files)
    for columns, rows in (front_rows(view), candidate_rows(view)):
        row = next(row for row in rows if row[0] == preferred)
        named = dict(zip(columns, row, strict=True))
        assert (named["helpful surface score"], named["helpful surface standard error"]) == (9.0, 0.03)
        assert "helpful score" in named
        assert "harmless surface score" not in named


def test_terminal_and_page_say_what_the_surface_is_worth_and_where_there_is_none(run):
    files, _, _ = run
    worth, none = surface_lines(front_view(files))
    assert "about 3.2 times the prompts" in worth
    assert "harmless do not lie on a smooth surface" in none
    page = write_report(files.folder, forms=[]).read_text()
    assert "about 3.2 times the prompts" in page
    assert "harmless do not lie on a smooth surface" in page


def test_a_run_without_a_surface_says_nothing_of_one(tmp_path, make_run_folder):
    view = front_view(read_run(make_run_folder(tmp_path / "plain", 2)))
    assert surface_lines(view) == []
    assert not any("surface" in column for column in front_rows(view)[0])
