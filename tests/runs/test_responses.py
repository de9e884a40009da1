from dataclasses import replace

import numpy as np
import pytest

from mva.analysis.front_view import front_view, side_by_side
from mva.analysis.indicators import indicator_rows
from mva.judging.pairing import responses
from mva.runs.responses import Answers, first_samples
from mva.runs.run_folder import read_run


@pytest.fixture
def run(tmp_path, make_run_folder):
    return read_run(make_run_folder(tmp_path / "run", 2))


def twice(run):
    """The run with a second response to each prompt, whose rewards are higher by 2."""
    second = [
        {**line, "sample": 1, "response": "second", "rewards": {v: r + 2 for v, r in line["rewards"].items()}}
        for line in run.generations
    ]
    return replace(run, generations=(*second, *run.generations))


def test_samples_are_averaged_and_prompts_stay_what_is_counted(run):
    ids = [point.id for point in run.front.points]
    plain, sampled = (Answers.of(each, ids, "test") for each in (run, twice(run)))
    assert plain.n_prompts == sampled.n_prompts == 3
    np.testing.assert_allclose(sampled.rewards(run.front.values), plain.rewards(run.front.values) + 1)
    assert [[line.get("sample", 0) for line in samples] for samples in sampled.lines[0]] == [[0, 1]] * 3


def test_what_is_shown_and_judged_is_the_first_sample(run):
    sampled = twice(run)
    assert list(first_samples(sampled.generations)) == list(run.generations)
    shown = front_view(sampled)
    assert "second" not in shown.candidates[0].sample
    entries = side_by_side(sampled, shown.on_front)
    assert all(line["response"] != "second" for entry in entries for line in entry["responses"].values())
    judged = responses(sampled.generations, run.front.points[0].id)
    assert all(response.text != "second" for _, response in judged.values())


def test_prompts_of_a_cluster_count_as_one(run):
    prompts = sorted({line["prompt_id"] for line in run.generations})
    labels = dict(zip(prompts, ["a", "a", "b"], strict=True))
    lines = tuple({**line, "cluster": labels[line["prompt_id"]]} for line in run.generations)
    ids = [point.id for point in run.front.points]
    answers = Answers.of(replace(run, generations=lines), ids, "test")
    assert (answers.n_prompts, answers.n_independent) == (3, 2)
    rewards = answers.rewards(run.front.values)
    assert rewards.shape == (len(ids), 2, 2)
    np.testing.assert_allclose(
        rewards.mean(axis=1), Answers.of(run, ids, "test").rewards(run.front.values).mean(axis=1)
    )


def test_candidates_without_a_common_prompt_have_no_answers(run):
    assert Answers.of(run, [], "test").n_prompts == 0
    assert Answers.of(run, ["unknown"], "test").n_independent == 0
    assert indicator_rows(replace(run, generations=()), front_view(run))[0].held_out is None
