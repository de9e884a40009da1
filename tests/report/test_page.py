"""The report against the records that it was made from."""

import csv
import io
import json
from html import escape

import pytest
from rich.console import Console

from mva.analysis.front_view import CandidateView, FrontView, extremes, front_view, hypervolume_curve
from mva.analysis.warnings import warnings
from mva.pareto.front import Front
from mva.report.figures import draw_training
from mva.report.page import write_report
from mva.report.tables import brief, candidate_rows, front_rows, summary
from mva.runs.run_folder import UnreadableRun, read_run

EVIL = "<script>window.broken = true</script>"


def test_everything_that_was_written_by_others_is_shown_and_not_run(run_folder):
    page = write_report(run_folder, forms=[]).read_text()
    assert EVIL not in page
    assert escape(EVIL) in page
    assert "{{ 7 * 7 }}" in page, "text is no template"


def test_the_page_needs_no_network_and_is_small(run_folder):
    path = write_report(run_folder)
    page = path.read_text()
    assert path.stat().st_size < 6_000_000
    for reference in ("<script src", '<img src="http', "<link rel=stylesheet", '<link rel="stylesheet', "<iframe"):
        assert reference not in page


def test_figures_and_table_are_written_in_every_form(run_folder):
    write_report(run_folder, forms=["svg"])
    several = len(json.loads((run_folder / "interference.json").read_text())["pairs"]) > 0
    names = ["front", "hypervolume_curve", "training", *(["interference"] if several else [])]
    assert {p.name for p in (run_folder / "figures").iterdir()} == {
        f"{n}.{form}" for n in names for form in ("png", "svg")
    }
    front = json.loads((run_folder / "front.json").read_text())
    with (run_folder / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {point["id"] for point in front["points"]}
    first = next(row for row in rows if row["id"] == front["points"][0]["id"])
    assert float(first["helpful score"]) == front["points"][0]["scores"]["helpful"]
    assert float(first["helpful held-out score"]) == front["points"][0]["scores_held_out"]["helpful"]


def test_the_page_warns_of_a_reward_that_is_little_better_than_chance(run_folder):
    run = read_run(run_folder)
    assert any("helpful" in line and "55%" in line for line in warnings(run))
    assert "agrees with only 55%" in write_report(run_folder, forms=[]).read_text()


def test_every_candidate_of_the_ledger_is_in_the_view(run_folder):
    view = front_view(read_run(run_folder))
    columns, rows = candidate_rows(view)
    assert len(rows) == view.front.n_candidates == len(view.candidates)
    assert len(columns) == len(rows[0])
    assert {c.id for c in view.on_front} == {point.id for point in view.front.points}
    assert [c.kind for c in view.candidates].count("base") == 1
    assert [c.kind for c in view.candidates].count("single value") == len(view.values)


def test_the_disagreement_of_ensembles_is_a_column_where_it_was_measured(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    view = front_view(read_run(folder))
    assert view.disagreeing == ()
    ledger = folder / "candidates.jsonl"
    first, *others = [json.loads(line) for line in ledger.read_text().splitlines()]
    others = [{**line, "disagreement": {"helpful": 0.125}} for line in others]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in [first, *others]))
    view = front_view(read_run(folder))
    assert view.disagreeing == ("helpful",)
    columns, rows = candidate_rows(view)
    cells = {row[0]: row[columns.index("helpful disagreement")] for row in rows}
    assert cells == {c.id: None if c.id == first["id"] else 0.125 for c in view.candidates}
    columns, rows = front_rows(view)
    assert {len(row) for row in rows} == {len(columns)}
    assert {row[columns.index("helpful disagreement")] for row in rows} <= {None, 0.125}
    assert "helpful disagreement" in write_report(folder, forms=[]).read_text()


def test_the_hypervolume_curve_rises_to_the_fronts(run_folder):
    view = front_view(read_run(run_folder))
    curve = hypervolume_curve(view)
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(view.front.hypervolume)


def test_the_extremes_are_the_base_and_each_values_best(run_folder):
    view = front_view(read_run(run_folder))
    shown = extremes(view)
    assert shown[0].kind == "base"
    for value in view.values:
        assert max(c.scores[value] for c in view.on_front) == max(c.scores[value] for c in shown)


def test_the_summary_fits_a_terminal_of_eighty_columns(run_folder):
    run = read_run(run_folder)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary(run, front_view(run)), crop=False)
    said = console.export_text()
    assert "Hypervolume" in said
    assert "mva-export run=" in said
    assert all(point.id in said for point in front_view(run).front.points)


def test_a_job_of_a_sweep_says_its_front_in_a_line_and_its_warnings(run_folder):
    run = read_run(run_folder)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(brief(run, front_view(run)))
    first, *others = console.export_text().splitlines()
    assert first.startswith(f"Front: {len(run.front.points)} of {run.front.n_candidates} candidates, hypervolume")
    assert len(others) == len(warnings(run)) + 1


def test_a_value_has_one_colour_in_all_panels_of_the_training_figure():
    first = {"step": 1, "train/a/preference_loss": 0.7, "train/b/preference_loss": 0.6, "train/b/dependence": 0.1}
    losses, dependence = draw_training([first]).axes
    assert [line.get_label() for line in (*losses.lines, *dependence.lines)] == ["a", "b", "b"]
    assert dependence.lines[0].get_color() == losses.lines[1].get_color() != losses.lines[0].get_color()


def test_the_staircase_is_that_of_the_points_by_hand():
    view = hand_made({"a": (1.0, 3.0), "b": (2.0, 2.0), "c": (4.0, 1.0)}, reference=(0.0, 0.0))
    assert view.staircase("x", "y") == ([0, 1, 1, 2, 2, 4, 4], [3, 3, 2, 2, 1, 1, 0])


def test_points_below_the_reference_point_have_no_staircase():
    view = hand_made({"a": (-1.0, -1.0)}, reference=(0.0, 0.0))
    assert view.staircase("x", "y") == ([0.0], [0.0])


def hand_made(points, *, reference):
    front = Front(
        values=("x", "y"), reference_point=dict(zip("xy", reference, strict=True)), reference_point_rule="explicit",
        hypervolume=0.0, hypervolume_simplex=None, n_candidates=len(points), base=None, points=(),
    )  # fmt: skip
    views = tuple(
        CandidateView(
            name,
            "front",
            {},
            dict(zip("xy", xy, strict=True)),
            {},
            None,
            on_front=True,
            convex=False,
            sample="",
            n_prompts=24,
        )
        for name, xy in points.items()
    )
    return FrontView(("x", "y"), views, front)


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(UnreadableRun, match="no run folder"):
        read_run(tmp_path)


def test_a_run_that_is_not_finished_is_told(run_folder):
    (run_folder / "front.json").unlink()
    with pytest.raises(ValueError, match="not finished"):
        write_report(run_folder)


@pytest.mark.parametrize(
    ("content", "sentence"), [("{broken", "is not JSON"), ('{"schema_version": 99}', "schema_version is 99")]
)
def test_a_record_that_cannot_be_read_is_named(run_folder, content, sentence):
    (run_folder / "rewards.json").write_text(content)
    with pytest.raises(UnreadableRun, match=rf"rewards\.json.*{sentence}"):
        read_run(run_folder)


@pytest.mark.parametrize("name", ["rewards.json", "dependence.json", "data.json", "timings.json", "metrics.jsonl"])
def test_what_a_run_has_not_written_is_simply_not_shown(run_folder, name):
    (run_folder / name).unlink()
    assert write_report(run_folder, forms=[]).exists()


def changed_preservation(folder, **facts):
    record = json.loads((folder / "preservation.json").read_text())
    record["values"]["harmless"].update(facts)
    (folder / "preservation.json").write_text(json.dumps(record))
    return warnings(read_run(folder))


def test_a_vector_that_kept_norm_and_score_gives_no_warning(tmp_path, make_run_folder):
    assert not any("penalty" in line for line in warnings(read_run(make_run_folder(tmp_path / "run", 2))))


def test_the_page_warns_of_a_penalty_that_shrank_a_vector(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    assert any("shrank the vector of 'harmless' to 68%" in line for line in changed_preservation(folder, norm=1.7))
    assert "shrank the vector of &#39;harmless&#39; to 68%" in write_report(folder, forms=[]).read_text()


def test_the_page_warns_of_a_value_that_was_lost_beyond_its_interval_and_not_within_it(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    found = changed_preservation(folder, difference=-0.4, low=-0.7, high=-0.1)
    assert any("0.40 of its own score (95 % interval 0.10 to 0.70)" in line for line in found)
    assert not any("own score" in line for line in changed_preservation(folder, low=-0.9, high=0.1))
