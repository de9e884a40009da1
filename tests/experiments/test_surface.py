"""The scripts that read a surface, on run folders whose every score and text is known."""

import importlib.util
import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mva.analysis.surface import ALL, surfaces
from mva.data.preference import user_prompt
from mva.evaluation.ledger import Generation, Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front
from mva.pareto.hypervolume import hypervolume
from mva.records import write_json
from mva.runs.run_folder import read_run
from mva.runs.sweep_folder import Outcome

VALUES = ("helpful", "harmless")
FINE = "first pour the water and then add two spoons"


def script(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_main(monkeypatch, capsys):
    def run(module, *words):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
        module.main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def grid_run(make_run_folder):
    """Give a maker of run folders: scores and texts of every candidate of a grid are functions of its coefficients."""

    def make(folder, levels, score, text=lambda *_: FINE, *, n_prompts=12, config="seed: 0\n"):
        make_run_folder(folder, 2)
        for name in ("candidates.jsonl", "generations.jsonl"):
            (folder / name).unlink()
        (folder / "config.yaml").write_text(config)
        ledger, scored = Ledger(folder), {"validation": [], "test": []}
        for split, omega in product(scored, product(levels, repeat=2)):
            candidate, scores = Candidate(dict(zip(VALUES, omega, strict=True))), np.array(score(*omega), dtype=float)
            rewards = [scores + 3 * np.sin([k, k + 1]) for k in range(n_prompts)]  # prompts differ, for all alike
            named = [dict(zip(VALUES, one.tolist(), strict=True)) for one in (*rewards, np.mean(rewards, axis=0))]
            errors = dict.fromkeys(VALUES, 0.1)
            scored[split].append(ScoredCandidate(candidate, named[-1], errors, n_prompts, split))
            ledger.add_generations(
                [
                    Generation(candidate.id, user_prompt(f"{split} {k}"), text(*omega), named[k], split)
                    for k in range(n_prompts)
                ],
                key="k",
            )
            ledger.add_scored(scored[split][-1:], key="k")
        front = select_front(scored["validation"], values=VALUES).with_held_out(scored["test"])
        write_json(folder / "front.json", front.to_json())
        return folder

    return make


def test_reward_curves_give_every_rays_scores_above_the_base(tmp_path, grid_run, run_main):
    folder = grid_run(tmp_path / "run", (0, 0.5, 1), lambda a, b: (a - 0.25 * b, 2 * b))
    said = run_main(script("reward_curves"), folder)
    rays = json.loads((folder / "reward_curves.json").read_text())["rays"]

    def gains(ray, value):
        return [point["gain"][value][0] for point in rays[ray]]

    assert [point["coefficient"] for point in rays[ALL]] == [0, 0.5, 1]
    np.testing.assert_allclose(gains("helpful", "helpful"), [0, 0.5, 1])
    np.testing.assert_allclose(gains("helpful", "harmless"), [0, 0, 0])
    np.testing.assert_allclose(gains(ALL, "helpful"), [0, 0.375, 0.75])
    np.testing.assert_allclose(gains(ALL, "harmless"), [0, 1, 2])
    base, last = rays[ALL][0]["score"]["harmless"], rays[ALL][-1]
    assert last["score"]["harmless"][0] - base[0] == pytest.approx(2)
    low, high = last["score"]["harmless"][1:]
    assert high - low > 1, "prompts differ by a lot"
    assert last["gain"]["harmless"][1:] == pytest.approx([2, 2]), "but all candidates alike"
    assert "all together" in said
    assert (folder / "reward_curves.png").exists()
    assert (folder / "reward_gains.png").exists()
    assert (folder / "reward_planes.png").exists()


def broken(a, b):
    if max(a, b) >= 3:
        return ""
    return "no no no no no no" if max(a, b) >= 2 else FINE


def test_failure_signatures_find_every_failure_where_it_was_put(tmp_path, grid_run, run_main):
    # Helpful saturates at 1 and suffers from harmless; harmless is linear up to the end.
    folder = grid_run(tmp_path / "run", (0, 1, 2, 3), lambda a, b: (min(a, 1) - 0.5 * a * b, b), broken)
    said = run_main(script("failure_signatures"), folder)
    record = json.loads((folder / "failure_signatures.json").read_text())

    kept = record["over_decorrelation"]["harmless"]
    assert kept["norm_kept"] == pytest.approx(2.0 / 2.5)
    assert (kept["difference"], kept["verdict"]) == (-0.1, "-")
    lost = record["interference"]
    assert lost["helpful"]["difference"] == pytest.approx(-0.5)
    assert lost["helpful"]["verdict"] == "worse"
    assert lost["harmless"]["difference"] == pytest.approx(0)

    rays = record["rays"]
    assert rays["helpful"]["helpful"]["nonlinear_from"] == 2
    assert rays["harmless"]["harmless"]["nonlinear_from"] is None
    assert rays[ALL]["helpful"]["nonlinear_from"] == 1
    for ray in rays.values():
        assert ray["empty"]["worse_from"] == 3
        assert ray["empty"]["means"] == {"0": 0, "1": 0, "2": 0, "3": 1}
        assert ray["repeated 3-grams"]["worse_from"] is None, "an empty text repeats nothing"
        assert ray["words"]["worse_from"] == ray["words a sentence"]["worse_from"] == 2, (
            "ten words become six, then none"
        )
    assert rays["helpful"]["helpful"]["worse_from"] is None
    assert rays["helpful"]["harmless"]["worse_from"] is None
    assert rays[ALL]["helpful"]["worse_from"] == 1
    assert rays[ALL]["harmless"]["worse_from"] is None

    regions = record["regions"]
    assert regions["up to 1"]["helpful"] == pytest.approx(
        {"n_candidates": 1, "residual": -0.5, "share_below": 1, "share_above": 0}
    )
    assert regions["beyond 1"]["harmless"]["n_candidates"] == 12
    assert regions["beyond 1"]["harmless"]["share_below"] == regions["beyond 1"]["harmless"]["share_above"] == 0
    assert "not linear from" in said
    assert (folder / "failure_residuals.png").exists()
    assert (folder / "failure_collapse.png").exists()


def test_a_level_is_worse_only_if_all_higher_ones_are(tmp_path, grid_run):
    module = script("failure_signatures")
    folder = grid_run(tmp_path / "run", (0, 1, 2, 3), lambda a, b: (0, 0), lambda a, b: "no " * 6 if a == 2 else FINE)
    _, texts = surfaces(read_run(folder))
    first, second = np.eye(2)
    assert module.worse_from(texts, "repeated 3-grams", first, first, 1) is None
    looping = grid_run(tmp_path / "other", (0, 1, 2, 3), lambda a, b: (0, 0), lambda a, b: "no " * 6 if a > 1 else FINE)
    _, texts = surfaces(read_run(looping))
    assert module.worse_from(texts, "repeated 3-grams", first, first, 1) == 2
    assert module.worse_from(texts, "distinct words", first, first, -1) == 2
    assert module.worse_from(texts, "repeated 3-grams", second, second, 1) is None


TWO_BY_TWO = script("two_by_two")


def constant(*points, n_prompts=12):
    rewards = np.repeat(np.array(points, dtype=float)[:, None], n_prompts, axis=1)
    return TWO_BY_TWO.Scored(np.array(points, dtype=float), rewards)


def test_effects_are_differences_of_hypervolumes_and_the_interaction_their_difference():
    # Squares over the reference point (-0.1, -0.1): sides 0.5, 0.9, 0.6 and 1.1.
    found = {
        ("no penalty", "simplex"): [constant([0.4, 0.4])],
        ("no penalty", "box"): [constant([0.4, 0.4], [0.8, 0.8])],
        ("penalty", "simplex"): [constant([0.5, 0.5])],
        ("penalty", "box"): [constant([0.5, 0.5], [1.0, 1.0])],
    }
    whole = TWO_BY_TWO.measure(found, TWO_BY_TWO.whole_hypervolume)
    cells = {name: cell["estimate"] for name, cell in whole["cells"].items()}
    assert cells == pytest.approx(
        {"no penalty, simplex": 0.25, "no penalty, box": 0.81, "penalty, simplex": 0.36, "penalty, box": 1.21},
        rel=1e-3,
    )
    effects = {name: effect["estimate"] for name, effect in whole["effects"].items()}
    assert effects == pytest.approx(
        {
            "extrapolation, no penalty": 0.56,
            "extrapolation, penalty": 0.85,
            "decorrelation, simplex": 0.11,
            "decorrelation, box": 0.40,
            "interaction": 0.29,
        },
        abs=2e-3,
    )
    assert {effect["verdict"] for effect in whole["effects"].values()} == {"better"}


def test_few_prompts_give_no_verdict():
    found = {
        cell: [constant([0.4 + k, 0.4], n_prompts=9)]
        for k, cell in enumerate(product(TWO_BY_TWO.PENALTIES, TWO_BY_TWO.REGIONS))
    }
    effects = TWO_BY_TWO.measure(found, TWO_BY_TWO.whole_hypervolume)["effects"]
    assert all(effect["verdict"].startswith("undecided") for effect in effects.values())


def test_of_as_many_candidates_as_there_are_the_mean_hypervolume_is_the_hypervolume():
    scores = np.random.default_rng(0).random((7, 2))
    assert TWO_BY_TWO.mean_hypervolume(scores, 7) == pytest.approx(hypervolume(scores, [-0.1, -0.1]))
    assert TWO_BY_TWO.mean_hypervolume(scores, 3) < TWO_BY_TWO.mean_hypervolume(scores, 7)
    assert TWO_BY_TWO.mean_hypervolume(np.full((9, 2), 0.4), 2) == pytest.approx(0.25)


def test_every_draw_takes_different_candidates_and_all_of_them_get_their_turn():
    drawn = TWO_BY_TWO.subsets(12, 4)
    assert drawn.shape == (TWO_BY_TWO.SUBSETS, 4)
    assert all(len(set(rows)) == 4 for rows in drawn.tolist())
    assert set(drawn.flat) == set(range(12))


@pytest.fixture
def sweep(tmp_path, grid_run):
    """Two seeds without and with the penalty, which lifts what lies beyond the simplex."""
    for number, (seed, strength) in enumerate(product((0, 1), (0.0, 10.0))):
        lift = 0.02 * strength
        folder = grid_run(
            tmp_path / f"job{number}", (0, 0.5, 1),
            lambda a, b, lift=lift: (a - 0.2 * b + lift * a * b, b - 0.2 * a + lift * a * b),
            config=f"seed: {seed}\npenalty:\n  strength: {strength}\n",
        )  # fmt: skip
        Outcome("run", number, [f"seed={seed}", f"penalty.strength={strength:g}"], state="finished").write(folder)
    return tmp_path


def test_cells_hold_the_simplex_and_the_box_scaled_to_the_range_of_both_halves(sweep):
    halves = zip(*TWO_BY_TWO.halves(sweep), strict=True)
    found = TWO_BY_TWO.cells([tuple(map(TWO_BY_TWO.on_validation, pair)) for pair in halves])
    assert {cell: [len(scored.rewards) for scored in seeds] for cell, seeds in found.items()} == {
        (p, r): [3, 3] if r == "simplex" else [9, 9] for p, r in product(TWO_BY_TWO.PENALTIES, TWO_BY_TWO.REGIONS)
    }
    scores = np.concatenate([found[p, "box"][0].rewards.mean(axis=1) for p in TWO_BY_TWO.PENALTIES])
    np.testing.assert_allclose([scores.min(axis=0), scores.max(axis=0)], [[0, 0], [1, 1]], atol=1e-12)


def test_the_whole_table_of_a_sweep_is_written_and_says_how_sure_it_is(sweep, run_main):
    said = run_main(TWO_BY_TWO, sweep)
    record = json.loads((sweep / "two_by_two.json").read_text())
    assert (record["seeds"], record["prompts"]) == (2, {"validation": 12, "test": 12})
    assert list(record["found"]) == ["all candidates", "3 candidates each", "fronts, held out"]
    effects = record["found"]["all candidates"]["effects"]
    assert effects["decorrelation, simplex"]["estimate"] > 0, "the product is above 0 inside of the simplex"
    assert effects["extrapolation, penalty"]["estimate"] > effects["extrapolation, no penalty"]["estimate"] > 0
    held_out = record["found"]["fronts, held out"]
    assert held_out["effects"]["decorrelation, box"]["estimate"] > 0
    assert held_out["effects"]["extrapolation, penalty"]["estimate"] > 0
    assert held_out["cells"]["penalty, box"]["candidates"] == 1, "the front of the box is its corner (1, 1)"
    assert "2 seeds, 12 prompts, 12 held out" in said
    assert (sweep / "two_by_two.png").exists()


def test_sweeps_that_leave_the_comparison_open_are_refused(sweep):
    assert [len(half) for half in TWO_BY_TWO.halves(sweep)] == [2, 2]
    (sweep / "job3" / "config.yaml").write_text("seed: 1\npenalty:\n  strength: 3.0\n")
    with pytest.raises(ValueError, match=r"strengths \[3.0, 10.0\]: choose one with --strength"):
        TWO_BY_TWO.halves(sweep)
    assert [len(half) for half in TWO_BY_TWO.halves(sweep, strength=3.0)] == [1, 1]
    with pytest.raises(ValueError, match="no seed that finished both"):
        TWO_BY_TWO.halves(sweep, strength=7.0)
