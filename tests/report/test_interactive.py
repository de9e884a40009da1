"""The interactive figures of a run and of a sweep, which are drawn by the same code."""

import json
from dataclasses import replace

import pytest

from mva.analysis.sweep_view import of_one_run, sweep_view
from mva.pareto.surface import SurfaceFit, SurfaceRecord
from mva.report.figures import draw_fronts
from mva.report.interactive import front_figures
from mva.report.points import point_table, without_points
from mva.runs.run_folder import read_run
from mva.runs.sweep_folder import Outcome


@pytest.fixture
def run(tmp_path, make_run_folder):
    return of_one_run(read_run(make_run_folder(tmp_path / "run", 2)))


def traces(front):
    (figure,) = front_figures(front)
    return {trace.name: trace for trace in figure.data}


def test_a_runs_front_has_bars_of_its_intervals_and_its_held_out_scores_beside_it(run):
    drawn = traces(run)
    assert list(drawn["front"].error_x.array) == pytest.approx([2.093024 * 0.08] * len(run.members)), (
        "Student's t of 20 prompts"
    )
    assert list(drawn["front, held-out prompts"].ids) == list(drawn["front"].ids)
    moved = [before - after for before, after in zip(drawn["front"].x, drawn["front, held-out prompts"].x, strict=True)]
    assert moved == pytest.approx([0.05] * len(moved)), "the fixture's held-out scores are lower by 0.05"


def test_only_candidates_are_drawn_from_the_table_of_points(run):
    (figure,) = front_figures(run)
    plain = {trace["name"]: trace for trace in without_points(figure, run)["data"]}
    (job,) = point_table(run)["jobs"]
    assert "x" not in plain["front"]
    assert len(plain["front, held-out prompts"]["x"]) == len(run.members)
    rows = [(first, count) for _, first, count in plain["base"]["meta"]["runs"]]
    assert [job["scores"][0][first] for first, count in rows for _ in range(count)] == [0.0], "the base scores 0"


def test_a_sweeps_points_say_whose_they_are_and_which_are_on_the_joint_front(tmp_path, make_run_folder):
    for number in range(2):
        make_run_folder(tmp_path / f"job {number}", 2, n_candidates=8 + number)
        Outcome("run", number, [f"s={number}"], state="finished").write(tmp_path / f"job {number}")
    (front,) = sweep_view(tmp_path).fronts
    drawn = traces(front)
    assert {name: set(trace.customdata) for name, trace in drawn.items() if trace.ids} == {
        "s=0": {"job 0"}, "s=1": {"job 1"},
    }  # fmt: skip
    rings = sum(width > 0 for name in ("s=0", "s=1") for width in drawn[name].marker.line.width)
    assert rings == len(front.members)


def with_surface(folder, values):
    """Give every candidate of a run a score off the surface 0.1 above its raw one, with half of its standard error."""
    run = read_run(folder)
    candidates = of_one_run(run).jobs[0].view.candidates
    scores = {c.id: {value: c.scores[value] + 0.1 for value in values} for c in candidates}
    errors = {c.id: dict.fromkeys(values, 0.04) for c in candidates}
    fits = {value: SurfaceFit(0.5, used=True, worth=4.0) for value in values}
    front = replace(run.front, surface=SurfaceRecord(fits, scores, errors))
    (folder / "front.json").write_text(json.dumps(front.to_json()))
    return of_one_run(read_run(folder))


def test_scores_off_the_surface_stand_beside_raw_ones_with_their_intervals(tmp_path, make_run_folder):
    front = with_surface(make_run_folder(tmp_path / "run", 2), ("helpful", "harmless"))
    raw, read_off = (traces(front)[name] for name in ("front", "front, read off the surface"))
    moved = [after - before for before, after in zip(raw.y, read_off.y, strict=True)]
    assert moved == pytest.approx([0.1] * len(moved))
    assert list(read_off.error_x.array) == pytest.approx([half / 2 for half in raw.error_x.array])
    (axes,) = draw_fronts([front]).axes
    assert "front, read off the surface" in axes.get_legend_handles_labels()[1]


def test_a_value_without_a_surface_leaves_the_figure_as_it_is(tmp_path, make_run_folder):
    front = with_surface(make_run_folder(tmp_path / "run", 2), ("helpful",))
    assert not any("surface" in name for name in traces(front))
    (axes,) = draw_fronts([front]).axes
    assert not any("surface" in label for label in axes.get_legend_handles_labels()[1])
