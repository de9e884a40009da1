import numpy as np
import pytest

from mva.analysis.choice import gains
from mva.analysis.comparison import compare
from mva.analysis.front_view import front_view
from mva.analysis.held_out import NotComparable, held_out_rewards
from mva.analysis.indicators import indicator_rows
from mva.analysis.prompt_rewards import pair_tables, prompt_rewards
from mva.runs.run_folder import read_run


@pytest.fixture
def run(tmp_path, make_run_folder, score_by_pairs):
    folder = make_run_folder(tmp_path / "run", 2)
    return read_run(score_by_pairs(folder, folder))


def test_what_is_read_of_pairs_has_the_ledger_s_scores_as_its_means(run):
    for split in ("validation", "test"):
        lines = [line for line in run.candidates if line["split"] == split]
        known = prompt_rewards(run, [line["id"] for line in lines], split, run.front.values)
        assert known.shape == (len(lines), 40, 2)  # 20 prompts a value, none of them shared
        for line, plane in zip(lines, known, strict=True):
            assert plane.mean(axis=0) == pytest.approx(list(line["scores"].values()))
            assert plane.std(axis=0, ddof=1) / 40**0.5 == pytest.approx(list(line["standard_errors"].values()))


def test_accuracies_are_those_of_the_ledger(run):
    lines = [line for line in run.candidates if line["split"] == "test"]
    tables = pair_tables(run, [line["id"] for line in lines], "test")
    for value, table in tables.items():
        assert table.accuracies() == [line["accuracies"][value] for line in lines]


def test_a_candidate_without_margins_has_no_table(run):
    assert pair_tables(run, ["unknown"], "test") == {}
    assert prompt_rewards(run, ["unknown"], "test", run.front.values) is None


def test_a_gain_over_the_base_is_the_difference_of_scores_by_pairs(run):
    view = front_view(run)
    candidate = max(view.on_front, key=lambda c: c.scores["helpful"])
    held_out = {line["id"]: line["scores"] for line in run.candidates if line["split"] == "test"}
    base = next(c for c in view.candidates if c.kind == "base")
    for value, gain in gains(run, view, candidate).items():
        assert gain.difference == pytest.approx(held_out[candidate.id][value] - held_out[base.id][value])
        assert gain.n_prompts == 20
        assert gain.low < gain.difference < gain.high


def test_indicators_have_intervals_on_pairs(run):
    rows = {row.name: row for row in indicator_rows(run, front_view(run))}
    volume = rows["hypervolume"].validation
    assert volume.low < volume.estimate < volume.high
    assert volume.raw == pytest.approx(run.front.hypervolume)


def test_runs_by_the_same_pairs_compare_and_those_by_responses_do_not(tmp_path, run, make_run_folder, score_by_pairs):
    other = make_run_folder(tmp_path / "other", 2)
    score_by_pairs(other, other, slope=30.0)
    compared = compare({"first": [run], "second": [read_run(other)]})
    assert compared.n_prompts == 40
    assert held_out_rewards(run, run.front.values).shape[1] == 40
    assert np.isfinite(compared.rows[1].differences["hypervolume"].interval.estimate)
    with pytest.raises(NotComparable, match="different rewards"):
        compare({"first": [run], "second": [read_run(make_run_folder(tmp_path / "third", 2))]})
