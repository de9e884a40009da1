"""What a run can tell, against the noise that its rewards were made with."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mva.analysis.costs import costs_of
from mva.analysis.run_power import TooFewPrompts, run_power
from mva.report.power_words import run_words
from mva.runs.run_folder import read_run


@pytest.fixture
def run(tmp_path, write_noisy_run):
    return read_run(write_noisy_run(tmp_path / "run", n_prompts=400))


def printed(renderable):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable, crop=False)
    return console.export_text()


def test_the_variance_of_a_difference_is_that_of_the_noise_and_the_rest_is_shared(run):
    # Prompts 1, each alone 0.25: a difference has 0.5 of the 2.5 that two scores have together.
    for score in run_power(run).scores:
        assert 400 * score.variance.prompts == pytest.approx(0.5, rel=0.1)
        assert score.shared == pytest.approx(0.8, abs=0.05)
        assert score.difference == pytest.approx(0.05 * 1.25**0.5, rel=0.1)


def test_the_needed_prompts_are_those_of_the_normal_theory(run):
    (score, _) = run_power(run, difference=0.5).scores
    assert score.prompts[1] == 400, "400 prompts are more than enough"
    (score, _) = run_power(run).scores
    assert score.prompts[1] == pytest.approx(0.5 * (2.802 / score.difference) ** 2, rel=0.15)
    assert score.detectable(score.prompts[1]) == pytest.approx(score.difference, rel=0.02)


def with_samples(run, *, decoding):
    """The same run with a second response to each prompt: `decoding` is what two of them differ by."""
    generator = np.random.default_rng(1)
    lines = []
    for line in run.generations:
        for sample in range(2):
            noise = decoding * generator.standard_normal(2)
            rewards = {v: r + e for (v, r), e in zip(line["rewards"].items(), noise, strict=True)}
            lines.append({**line, "rewards": rewards, **({"sample": sample} if sample else {})})
    return replace(run, generations=tuple(lines))


def test_several_samples_tell_decoding_from_prompts(run):
    assert {score.decoding for score in run_power(run).scores} == {None}
    for score in run_power(with_samples(run, decoding=0.5)).scores:
        # Each alone: 0.25 of the prompt, and decoding's 0.25 halved by two samples.
        assert score.decoding == pytest.approx(0.125 / 0.375, abs=0.03)
        alone, paired, four = (score.prompts[samples] for samples in (1, 2, 4))
        assert alone / four == pytest.approx((0.25 + 0.25) / (0.25 + 0.25 / 4), rel=0.1)
        assert alone > paired > four
        assert score.seconds[4] > score.seconds[1], "a prompt more is worth more than a sample more"


def test_clusters_of_prompts_count_as_prompts(run):
    labels = {line["prompt_id"]: str(number % 100) for number, line in enumerate(run.generations[:400])}
    known = tuple({**line, "cluster": labels.get(line["prompt_id"], "none")} for line in run.generations)
    power = run_power(replace(run, generations=known))
    assert (power.n_prompts, power.per_cluster) == (100, 4)
    for score, alone in zip(power.scores, run_power(run).scores, strict=True):
        # Clusters that were made at random: the mean's variance is the same from a quarter of independent units.
        assert score.variance.prompts == pytest.approx(alone.variance.prompts, rel=0.3)
    words = " ".join(printed(run_words(run, power, minutes=30)).split())
    assert "Prompts come in clusters of 4" in words
    assert f"evaluation.n_validation_prompts={4 * power.affordable(1800)}" in words


def test_costs_are_those_of_the_records(run):
    costs = costs_of([run])
    assert costs.response == pytest.approx(18 * 6.0 / (18 * 400))
    assert costs.start == 20
    assert costs.training == 300, "vectors from the store count what they took"
    assert costs.n_validation == 9 * 400
    assert costs.job(100) == pytest.approx(20 + costs.response * (9 * 400 + 100 * 9))
    assert costs.seed(100) == pytest.approx(300 + costs.job(100))


def test_the_affordable_prompts_take_the_time_that_is_there(run):
    power = run_power(run)
    number = power.affordable(600)
    costs = power.costs
    taken = costs.start + costs.response * (9 * number + 400 * costs.n_again)
    assert 600 - 9 * costs.response < taken <= 600


def test_no_more_prompts_are_proposed_than_the_data_has(run):
    counts = {"counts": {"train": 9, "validation": 250, "test": 9}}
    known = replace(run, data={"helpful": counts, "harmless": counts})
    assert run_power(run).affordable(1e9) > 500
    assert run_power(known).affordable(1e9) == 500


def test_the_words_fit_a_terminal_of_eighty_columns(run):
    text = printed(run_words(run, run_power(run), minutes=10))
    assert "Prompts and decoding are one term" in text
    assert "Another run's, 5% apart, takes" in " ".join(text.split())
    several = with_samples(run, decoding=0.5)
    words = " ".join(printed(run_words(several, run_power(several), minutes=10)).split())
    assert "Of a difference's variance decoding is, with 2 samples a prompt: helpful" in words
    assert "one term" not in words
    short = printed(run_words(run, run_power(run), minutes=0.1))
    assert "not enough for more than 400 prompts" in " ".join(short.split())


def test_a_run_with_too_few_prompts_says_so(run):
    few = [line for line in run.generations if line["prompt"][-1]["content"].endswith((" 0", " 1"))]
    left = [
        line for line in few if line["prompt"][-1]["content"] in ("validation 0", "validation 1", "test 0", "test 1")
    ]
    with pytest.raises(TooFewPrompts, match="three validation prompts"):
        run_power(replace(run, generations=tuple(left)))


def test_a_run_of_pairs_says_that_it_has_no_prompts_to_count(run):
    with pytest.raises(TooFewPrompts, match="scored by preference pairs"):
        run_power(replace(run, front=replace(run.front, scored_by="pairs")))


def test_a_surface_makes_a_prompt_worth_more(run):
    fits = {"helpful": {"p_value": 0.5, "used": True, "worth": 4.0}}
    record = {**json.loads((run.folder / "front.json").read_text())}
    record["surface"] = {"fits": fits, "scores": {}, "standard_errors": {}}
    (run.folder / "front.json").write_text(json.dumps(record))
    helpful, harmless = run_power(read_run(run.folder)).scores
    assert (helpful.worth, harmless.worth) == (4.0, None)
