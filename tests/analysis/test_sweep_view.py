"""A sweep's joint front against numbers found by hand, on made-up runs."""

import io
import json

import pytest
from rich.console import Console

from mva.analysis.comparison import setting_rows
from mva.analysis.sweep_view import sweep_view
from mva.report.interactive import front_figures
from mva.report.sweep_page import write_sweep
from mva.report.sweep_tables import job_rows, setting_cells, sweep_summary
from mva.runs.run_folder import UnreadableRun
from mva.runs.sweep_folder import Outcome, read_outcome, read_sweep

EVIL = "<script>window.broken = true</script>"


def write_job(sweep, number, override, *, state="finished", error=None):
    folder = sweep / f"debug=smoke,{override}"
    folder.mkdir(parents=True, exist_ok=True)
    Outcome("run", number, ["debug=smoke", override], "hash", state, 3.0, 0.5, error).write(folder)
    return folder


def write_run(folder, points, *, keys=None, rule="nadir", reference=(0.0, 0.0), held_out=None):
    """Write a run whose candidates have these scores; the first `len(points)` are all on its front."""
    names = ("x", "y")
    lines, members = [], []
    for i, xy in enumerate(points):
        scores, errors = dict(zip(names, xy, strict=True)), dict.fromkeys(names, 0.1)
        candidate = {
            "id": f"{folder.name[-1]}-{i}",
            "coefficients": {"x": 0.1 * i + 0.2, "y": 0.7},
            "composition": "linear",
        }
        about = {"split": "validation", "n_prompts": 9, "seconds": 1.0, "schema_version": 1}
        lines.append({**candidate, **about, "scores": scores, "standard_errors": errors})
        held = None if held_out is None else dict(zip(names, held_out[i], strict=True))
        members.append(
            {**candidate, "scores": scores, "standard_errors": errors, "membership_probability": 1.0,
             "scores_held_out": held, "standard_errors_held_out": None if held is None else errors}
        )  # fmt: skip
    front = {
        "schema_version": 1, "values": list(names), "reference_point": dict(zip(names, reference, strict=True)),
        "reference_point_rule": rule, "hypervolume": 7.0, "hypervolume_simplex": None, "n_candidates": len(points),
        "base": None, "points": members,
    }  # fmt: skip
    rewards = {
        v: {"kind": "FittedHead", "key": (keys or {}).get(v, v), "accuracy": 0.8, "low": 0.7, "high": 0.9, "n_pairs": 9}
        for v in names
    }
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "front.json").write_text(json.dumps(front))
    (folder / "rewards.json").write_text(json.dumps({"schema_version": 1, "rewards": rewards}))
    (folder / "candidates.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def two_jobs(tmp_path):
    sweep = tmp_path / "sweep"
    explicit = {"rule": "explicit", "reference": (0.0, 0.0)}
    write_run(
        write_job(sweep, 0, "strength=0"), [(1.0, 3.0), (2.0, 1.0)], held_out=[(1.0, 2.0), (1.0, 1.0)], **explicit
    )
    write_run(write_job(sweep, 1, "strength=9"), [(2.0, 2.0), (3.0, 1.0)], **explicit)
    return sweep


def test_jobs_with_the_same_rewards_are_one_front_by_hand(two_jobs):
    (front,) = sweep_view(two_jobs).fronts
    assert [c.id for _, c in front.members] == ["0-0", "9-0", "9-1"]
    assert front.hypervolume == pytest.approx(3 + 2 + 1)
    assert [one.hypervolume for one in front.jobs] == pytest.approx([3 + 1, 4 + 1])
    assert [one.hypervolume_held_out for one in front.jobs] == [pytest.approx(2.0), None]
    assert [one.own_hypervolume for one in front.jobs] == [7.0, 7.0]
    assert front.staircase("x", "y") == ([0, 1, 1, 2, 2, 3, 3], [3, 3, 2, 2, 1, 1, 0])


def test_without_a_common_explicit_point_the_nadir_of_all_jobs_is_the_reference(tmp_path):
    write_run(write_job(tmp_path, 0, "s=0"), [(0.0, 10.0)], reference=(-1.0, 9.0))
    write_run(write_job(tmp_path, 1, "s=1"), [(10.0, 0.0)], reference=(9.0, -1.0))
    (front,) = sweep_view(tmp_path).fronts
    assert front.reference_point == pytest.approx({"x": -1.0, "y": -1.0})
    assert front.hypervolume == pytest.approx(11 + 11 - 1)
    assert front.of_single_candidates


def test_jobs_with_other_rewards_stay_apart_and_the_page_says_so(tmp_path):
    for seed in (0, 1):
        for strength in (0, 9):
            folder = write_job(tmp_path, 2 * seed + strength % 2, f"seed={seed},strength={strength}")
            write_run(folder, [(1.0, 3.0), (2.0, 1.0)], keys={"x": f"head-{seed}"})
    view = write_sweep(tmp_path)
    assert [len(front.jobs) for front in view.fronts] == [2, 2]
    assert "not scored by the same rewards" in (tmp_path / "report.html").read_text()
    columns, rows = job_rows(view)
    assert sorted(row[columns.index("rewards")] for row in rows) == ["1", "1", "2", "2"]


@pytest.fixture
def seeds_of_two_settings(tmp_path):
    """Strength 0 and 9, two seeds each; on 12 held-out prompts each front has one point, the same on every prompt."""
    found = {("0", "0"): (2.0, 3.0), ("0", "1"): (2.0, 1.0), ("9", "0"): (4.0, 2.0), ("9", "1"): (3.0, 2.0)}
    held_out = {"0": (1.0, 2.0), "9": (3.0, 2.0)}
    for number, ((strength, seed), point) in enumerate(found.items()):
        folder = tmp_path / f"job {number}"
        folder.mkdir()
        Outcome("run", number, [f"strength={strength}", f"seed={seed}"], state="finished").write(folder)
        write_run(
            folder, [point, (0.5, 0.5)], rule="explicit", reference=(0, 0), held_out=[held_out[strength], (0.1, 0.1)]
        )
        rewards = {f"{number}-0": held_out[strength], f"{number}-1": (0.1, 0.1)}
        lines = [
            {"id": c, "split": "test", "prompt_id": str(n), "prompt": [{"role": "user", "content": "?"}],
             "response": "!", "rewards": dict(zip("xy", xy, strict=True)), "schema_version": 1}
            for c, xy in rewards.items() for n in range(12)
        ]  # fmt: skip
        (folder / "generations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_jobs_that_differ_in_their_seed_alone_are_one_setting_by_hand(seeds_of_two_settings):
    (front,) = sweep_view(seeds_of_two_settings).fronts
    none, strong = setting_rows(front)
    assert [(row.label, len(row.jobs)) for row in (none, strong)] == [("strength=0", 2), ("strength=9", 2)]
    assert none.hypervolume == pytest.approx((6 + 2) / 2)
    assert strong.hypervolume == pytest.approx((8 + 6) / 2)
    assert [row.held_out.estimate for row in (none, strong)] == pytest.approx([2.0, 6.0])
    assert none.difference is None
    assert strong.difference.interval.estimate == pytest.approx(4.0)
    assert strong.difference.verdict.word == "better"
    assert setting_cells(strong) == ["2", "7", "6 (6 to 6)", "+4 (4 to 4): better"]


def test_settings_have_one_colour_and_are_in_the_page_the_record_and_the_terminal(seeds_of_two_settings):
    view = write_sweep(seeds_of_two_settings)
    (figure,) = front_figures(view.fronts[0])
    assert [(trace.name, len(trace.x)) for trace in figure.data[:2]] == [("strength=0", 4), ("strength=9", 4)]
    assert len({one for trace in figure.data[:2] for one in trace.ids}) == 8, (
        "Plotly draws one of points with equal ids"
    )
    (front,) = json.loads((seeds_of_two_settings / "sweep.json").read_text())["fronts"]
    assert front["settings"][1]["difference_held_out"]["verdict"] == "better"
    assert "+4 (4 to 4): better" in (seeds_of_two_settings / "report.html").read_text()
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(sweep_summary(view))
    said = console.export_text()
    assert [line.split()[:3] for line in said.splitlines() if line[:1] in ("0", "9")][:4] == [
        ["0", "0", "6"], ["0", "1", "2"], ["9", "0", "8"], ["9", "1", "6"],
    ]  # fmt: skip
    assert max(map(len, said.splitlines())) <= 80


def test_without_other_settings_every_seed_has_its_colour_and_their_mean_is_told(tmp_path, make_run_folder):
    for seed in range(2):
        make_run_folder(tmp_path / str(seed), 2)
        Outcome("run", seed, [f"seed={seed}"], state="finished").write(tmp_path / str(seed))
    (front,) = sweep_view(tmp_path).fronts
    assert [label for label, _ in front.drawn] == ["seed=0", "seed=1"]
    assert [(row.label, len(row.jobs)) for row in setting_rows(front)] == [("all jobs", 2)]


def test_the_values_order_does_not_part_jobs(two_jobs):
    record = json.loads((two_jobs / "debug=smoke,strength=9" / "front.json").read_text())
    (two_jobs / "debug=smoke,strength=9" / "front.json").write_text(json.dumps({**record, "values": ["y", "x"]}))
    (front,) = sweep_view(two_jobs).fronts
    assert front.hypervolume == pytest.approx(6)


def test_a_job_is_named_by_what_tells_it_from_the_others(two_jobs):
    assert [job.label for job in read_sweep(two_jobs)] == ["strength=0", "strength=9"]


def test_failed_and_unfinished_jobs_are_in_the_table_and_not_on_the_front(two_jobs):
    write_run(write_job(two_jobs, 2, "strength=x", state="failed", error=f"ValueError: {EVIL}"), [(99.0, 99.0)])
    write_run(write_job(two_jobs, 3, "strength=y", state="running"), [(99.0, 99.0)])
    view = write_sweep(two_jobs)
    assert view.fronts[0].hypervolume == pytest.approx(6)
    assert [row[1] for row in job_rows(view)[1]] == ["finished", "finished", "failed", "unfinished"]
    page = (two_jobs / "report.html").read_text()
    assert EVIL not in page
    assert "&lt;script&gt;window.broken" in page


def test_sweep_json_and_the_figure_hold_what_the_view_says(two_jobs):
    view = write_sweep(two_jobs)
    record = json.loads((two_jobs / "sweep.json").read_text())
    assert [job["joint_front_points"] for job in record["jobs"]] == [1, 2]
    assert [point["scores"] for point in record["fronts"][0]["points"]] == [
        {"x": 1.0, "y": 3.0}, {"x": 2.0, "y": 2.0}, {"x": 3.0, "y": 1.0},
    ]  # fmt: skip
    assert (two_jobs / "front.png").stat().st_size > 10_000
    (figure,) = front_figures(view.fronts[0])
    assert [(trace.name, len(trace.x)) for trace in figure.data[:2]] == [("strength=0", 2), ("strength=9", 2)]
    assert (two_jobs / "report.html").stat().st_size < 6_000_000
    assert 'href="debug%3Dsmoke%2Cstrength%3D0/report.html"' in (two_jobs / "report.html").read_text()


@pytest.mark.parametrize("n_values", [1, 2, 3, 5])
def test_any_number_of_values_is_drawn(tmp_path, make_run_folder, n_values):
    for number in range(2):
        folder = tmp_path / "sweep" / f"s={number}"
        make_run_folder(folder, n_values)
        Outcome("run", number, [f"s={number}"], state="finished").write(folder)
    view = write_sweep(tmp_path / "sweep")
    assert len(view.fronts) == 1
    assert "<script>window.broken" not in (tmp_path / "sweep" / "report.html").read_text()


def test_jobs_without_a_front_make_a_table_alone(tmp_path):
    write_job(tmp_path, 0, "rank=1")
    view = write_sweep(tmp_path)
    assert view.fronts == ()
    assert not (tmp_path / "front.png").exists()
    assert (tmp_path / "report.html").stat().st_size < 20_000


def test_a_folder_without_jobs_is_told(tmp_path):
    with pytest.raises(UnreadableRun, match="neither a run"):
        write_sweep(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 99}'])
def test_an_outcome_that_can_not_be_read_is_none(tmp_path, text):
    (tmp_path / "outcome.json").write_text(text)
    assert read_outcome(tmp_path) is None
