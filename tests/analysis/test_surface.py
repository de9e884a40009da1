from itertools import product

import numpy as np
import pytest

from mva.analysis.surface import ALL, NotScored, Surface, holds_from, interference, surfaces
from mva.report.surface_figures import draw_curves, draw_planes
from mva.runs.run_folder import read_run

LEVELS = (0.0, 0.5, 1.0, 2.0)
HELPFUL, HARMLESS = np.eye(2)


def surface(score, *, n_prompts=12, n_vectors=2, noise=0.0):
    """Scores of a formula; a prompt shifts all candidates alike, and noise comes on top."""
    vectors = ("helpful", "harmless", "honest")[:n_vectors]
    coefficients = np.array(list(product(LEVELS, repeat=n_vectors)))
    exact = np.array([score(*omega) for omega in coefficients])
    generator = np.random.default_rng(0)
    prompts = generator.normal(scale=5.0, size=(1, n_prompts, exact.shape[1]))
    own = generator.normal(scale=noise, size=(len(exact), n_prompts, exact.shape[1]))
    return Surface(vectors, ("helpful", "harmless")[: exact.shape[1]], coefficients, exact[:, None] + prompts + own)


def test_scores_that_are_linear_leave_no_residual_whatever_the_prompts_do():
    found = surface(lambda a, b: (1 + 2 * a - b, 0.5 * b)).residuals()
    np.testing.assert_allclose(found.numbers, 0, atol=1e-12)


def test_a_product_of_coefficients_is_what_the_linear_prediction_leaves():
    found = surface(lambda a, b: (2 * a - 3 * a * b, b)).residuals()
    np.testing.assert_allclose(found.means[:, 0], -3 * found.coefficients.prod(axis=1), atol=1e-12)


def test_saturation_shows_beyond_one_along_the_vector_and_the_base_and_the_vector_alone_are_exact():
    levels, ray = surface(lambda a, b: (min(a, 1), b)).residuals().along(HELPFUL)
    assert levels.tolist() == list(LEVELS)
    np.testing.assert_allclose(ray.means[:, 0], [0, 0, 0, -1], atol=1e-12)


def test_signs_tell_what_the_noise_does_not_hide_and_never_tell_of_a_few_prompts():
    def bent(a, b):
        return (a - 3 * a * b, b)

    residuals = surface(bent, noise=0.1).residuals()
    bends = residuals.coefficients.prod(axis=1) >= 0.5
    assert (residuals.signs()[bends, 0] == -1).all()
    assert (surface(bent, noise=30.0).residuals().signs()[:, 0] == 0).mean() > 0.8
    assert not surface(bent, n_prompts=9).residuals().signs().any()


def test_residuals_of_linear_scores_are_rarely_told_from_zero():
    whole, told = surface(lambda a, b: (a, b)), []
    for trial in range(80):
        noise = np.random.default_rng(trial).normal(size=whole.numbers.shape)
        noisy = Surface(whole.vectors, whole.measures, whole.coefficients, whole.numbers + noise)
        told.append((noisy.residuals().signs()[whole.coefficients.sum(axis=1) > 1] != 0).mean())
    assert 0.02 < np.mean(told) < 0.11  # 5 % with many prompts; twelve, and the candidates' common corners, blur it


def test_intervals_know_how_the_prompts_differ_and_pairing_takes_that_away():
    raw = surface(lambda a, b: (a, b))
    low, high = raw.intervals()
    assert ((high - low) > 1).all()
    low, high = raw.minus(raw.at([0, 0])).intervals()
    np.testing.assert_allclose(low, raw.coefficients, atol=1e-9)
    np.testing.assert_allclose(high, raw.coefficients, atol=1e-9)


def test_a_ray_holds_the_multiples_of_its_direction_in_rising_order():
    whole = surface(lambda a, b: (a, b))
    shuffled = Surface(whole.vectors, whole.measures, whole.coefficients[::-1], whole.numbers[::-1])
    levels, ray = shuffled.along(np.array([1.0, 0.5]))
    assert levels.tolist() == [0, 1, 2]
    assert ray.coefficients.tolist() == [[0, 0], [1, 0.5], [2, 1]]
    assert list(whole.rays()) == ["helpful", "harmless", ALL]
    assert list(surface(lambda a: (a,), n_vectors=1).rays()) == ["helpful"]


def test_a_ray_leaves_out_what_is_subtracted():
    whole = Surface(("helpful",), ("helpful",), np.array([[-1.0], [0.0], [1.0]]), np.zeros((3, 2, 1)))
    assert whole.along(np.ones(1))[0].tolist() == [0, 1]


def test_a_plane_has_the_other_vectors_at_zero_and_marks_holes():
    whole = surface(lambda a, b, c: (a + 10 * b + 100 * c, 0), n_vectors=3, n_prompts=2)
    planes = whole.planes()
    assert list(planes) == [("helpful", "harmless"), ("helpful", "honest"), ("harmless", "honest")]
    x, y, which = planes["harmless", "honest"]
    assert x.tolist() == y.tolist() == list(LEVELS)
    np.testing.assert_allclose(whole.means[which, 0] - whole.means[which[0, 0], 0], 10 * x[:, None] + 100 * y)
    keep = np.arange(len(whole.coefficients)) != which[1, 2]
    holed = Surface(whole.vectors, whole.measures, whole.coefficients[keep], whole.numbers[keep])
    assert np.argwhere(holed.planes()["harmless", "honest"][2] == -1).tolist() == [[1, 2]]


def test_a_candidate_that_was_not_scored_is_named():
    whole = surface(lambda a, b: (a, b))
    np.testing.assert_array_equal(whole.at([1, 0.5]), whole.numbers[9])
    with pytest.raises(NotScored, match=r"No candidate was scored at helpful 0\.25, harmless 1:"):
        whole.at([0.25, 1])


@pytest.mark.parametrize(
    ("holds", "level"),
    [([0, 0, 1, 1], 3.0), ([1, 1, 1, 1], 1.0), ([1, 0, 0, 1], 4.0), ([1, 1, 1, 0], None), ([0, 0, 0, 0], None)],
)
def test_something_holds_from_a_level_on_only_if_it_holds_at_all_higher_ones(holds, level):
    assert holds_from(np.array([1.0, 2.0, 3.0, 4.0]), np.array(holds, dtype=bool)) == level


def test_interference_is_what_a_value_loses_with_all_vectors_at_one():
    found = interference(surface(lambda a, b: (a - 0.3 * b, b + 0.2 * a)))
    assert found["helpful"].interval.estimate == pytest.approx(-0.3)
    assert found["harmless"].interval.estimate == pytest.approx(0.2)
    assert (found["helpful"].verdict.word, found["harmless"].verdict.word) == ("worse", "better")
    assert interference(surface(lambda a: (a,), n_vectors=1)) == {}


def test_interference_of_a_value_without_a_vector_of_its_name_is_unknown():
    whole = surface(lambda a, b: (a, b))
    renamed = Surface(("helpful", "mixed"), whole.measures, whole.coefficients, whole.numbers)
    assert list(interference(renamed)) == ["helpful"]


def test_a_runs_surface_has_the_scores_of_its_ledger(run_folder):
    run = read_run(run_folder)
    rewards, texts = surfaces(run)
    lines = [line for line in run.candidates if line["split"] == "validation"]
    assert rewards.vectors == rewards.measures == tuple(lines[0]["scores"])
    np.testing.assert_allclose(rewards.means, [list(line["scores"].values()) for line in lines])
    np.testing.assert_allclose(rewards.coefficients, [list(line["coefficients"].values()) for line in lines])
    words = {g["id"]: len(g["response"].split()) for g in run.generations}
    np.testing.assert_allclose(texts.only("words").means[:, 0], [words[line["id"]] for line in lines])


def test_a_run_that_explored_nothing_has_no_surface(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    (folder / "generations.jsonl").unlink()
    with pytest.raises(NotScored, match="fewer than two candidates"):
        surfaces(read_run(folder))


def test_figures_show_a_line_for_every_ray_and_a_cross_for_every_mark():
    residuals = surface(lambda a, b: (a - 3 * a * b, b)).residuals()
    curves = draw_curves(residuals).axes
    assert [len(axes.get_legend_handles_labels()[1]) for axes in curves] == [3, 3]
    marks = residuals.signs() != 0
    drawn = [axes for axes in draw_planes(residuals, title="", marks=marks).axes if axes.lines]
    assert [len(axes.lines[0].get_xdata()) for axes in drawn] == marks.sum(axis=0).tolist() == [9, 0]
    assert draw_planes(surface(lambda a: (a,), n_vectors=1), title="") is None
