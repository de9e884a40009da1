"""The algorithm on tiny models: any number of values, any kind of reward, any policy."""

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.diagnostics import Diagnostics
from mva.engines.hf import HfResponder
from mva.evaluation import by_pairs
from mva.evaluation.ledger import Ledger
from mva.experiment import open_session
from mva.models import reference
from mva.pipeline import find_front, find_front_by_pairs, make_rewards, train_independently, train_vectors
from mva.preflight import check_session
from mva.rewards.length import Length
from mva.rewards.sentiment import Sentiment
from mva.stages import Stages
from mva.training import fit

FIVE = ["helpful", "harmless", "honest", "brief", "detailed"]


def experiment(tmp_path, *overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        words = ["debug=smoke", f"paths.cache={tmp_path / 'cache'}", "evaluation.n_validation_prompts=3"]
        config = compose("config", [*words, "evaluation.n_test_prompts=3", "trainer.recipe.steps=2", *overrides])
    return assemble.experiment(config)


def front_of(experiment, folder, *, rewards=True):
    data, _ = experiment.data.load(experiment.values)
    folder.mkdir(exist_ok=True)
    session = open_session(experiment, experiment.model.load(), data, Stages(folder))
    vectors = train_vectors(session, log=lambda _metrics, _step: None)
    made = make_rewards(session, vectors) if rewards else {}
    front = find_front(session, vectors, made, Ledger(folder))
    return front, vectors, Diagnostics(session, vectors, train_independently(session, vectors)).dependence()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_any_number_of_values_gives_a_front(n, tmp_path):
    words = [f"value.names=[{','.join(FIVE[:n])}]", "search=sobol", "search.n=4", "reward=length"]
    front, vectors, dependence = front_of(experiment(tmp_path, *words), tmp_path / "run")
    assert front.values == tuple(FIVE[:n])
    assert [vector.value for vector in vectors] == FIVE[:n]
    assert front.points
    assert all(set(point.scores_held_out) == set(FIVE[:n]) for point in front.points)
    assert front.n_candidates == 4 + n + 1
    pairs = [p for p in dependence["pairs"] if p["estimator"] == "Correlation"]
    assert len(pairs) == n * (n - 1) // 2


def test_several_samples_a_prompt_are_common_to_all_candidates(tmp_path):
    words = ["evaluation.samples=3", "evaluation.generation.temperature=1.0", "reward=length", "search=one_hot"]
    front_of(experiment(tmp_path, *words), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "generations.jsonl").read_text().splitlines()]
    base = json.loads((tmp_path / "run" / "candidates.jsonl").read_text().splitlines()[0])
    validation = [line for line in lines if line["id"] == base["id"] and line["split"] == "validation"]
    by_prompt = Counter(line["prompt_id"] for line in validation)
    assert by_prompt == dict.fromkeys(by_prompt, 3)
    assert len({(line["prompt_id"], line["response"]) for line in validation}) == 9  # samples differ
    expected = sum(line["rewards"]["helpful"] for line in validation) / 9
    assert base["scores"]["helpful"] == pytest.approx(expected)
    assert base["n_prompts"] == 3


@pytest.mark.parametrize("reward", ["preference_head", "length", "sentiment", "implicit"])
def test_every_kind_of_reward_scores_the_candidates(reward, tmp_path):
    front, _, _ = front_of(experiment(tmp_path, f"reward={reward}", "search=one_hot"), tmp_path / "run")
    assert front.hypervolume >= 0
    assert front.base is not None


def test_pessimism_takes_its_share_of_the_disagreement_off_every_score(tmp_path):
    words = ["search=one_hot", "reward=preference_head", "reward.members=4"]
    ledgers = {}
    for k in (0, 2):
        front_of(experiment(tmp_path, *words, f"evaluation.pessimism={k}"), tmp_path / f"run{k}")
        lines = map(json.loads, (tmp_path / f"run{k}" / "candidates.jsonl").read_text().splitlines())
        ledgers[k] = {line["id"]: line for line in lines if line["split"] == "validation"}
    assert ledgers[0].keys() == ledgers[2].keys()
    for candidate, plain in ledgers[0].items():
        pessimistic = ledgers[2][candidate]
        assert pessimistic["key"] != plain["key"]
        assert pessimistic["disagreement"] == pytest.approx(plain["disagreement"])
        for value, disagreement in plain["disagreement"].items():
            assert disagreement > 0
            assert pessimistic["scores"][value] == pytest.approx(plain["scores"][value] - 2 * disagreement)


def test_each_value_may_have_a_reward_of_its_own_kind(tmp_path):
    setup = experiment(tmp_path, f"value.names=[{','.join(FIVE[:4])}]", "search=one_hot", "reward=preference_head")
    implicit = experiment(tmp_path, "reward=implicit").rewards["harmless"]
    rewards = {**setup.rewards, "harmless": implicit, "honest": Sentiment(), "brief": Length(sign=-1)}
    front, _, _ = front_of(replace(setup, rewards=rewards), tmp_path / "run")
    assert front.points
    held_out = [point.scores_held_out for point in front.points]
    assert all(-1 <= scores["honest"] <= 1 and scores["brief"] <= 0 for scores in held_out)


def test_the_ledger_is_complete_and_a_second_run_makes_nothing_anew(tmp_path, monkeypatch):
    setup = experiment(tmp_path, "search=one_hot", "reward=preference_head")
    front, vectors, _ = front_of(setup, tmp_path / "run")
    ledgers = [tmp_path / "run" / f"{name}.jsonl" for name in ("candidates", "generations")]
    before = [path.read_text() for path in ledgers]
    candidates, generations = ([json.loads(line) for line in text.splitlines()] for text in before)
    scored = {(line["split"], line["id"]) for line in candidates}
    assert len(scored) == len(candidates)
    assert {candidate for split, candidate in scored if split == "validation"} >= {p.id for p in front.points}
    assert {candidate for split, candidate in scored if split == "test"} >= {p.id for p in front.points}
    assert Counter((line["split"], line["id"]) for line in generations) == dict.fromkeys(scored, 3)
    for owner, name in ((fit, "Trainer"), (reference, "_compute"), (HfResponder, "answer")):
        monkeypatch.setattr(owner, name, None)  # making anything anew would fail now
    again, same, _ = front_of(setup, tmp_path / "run")
    assert again.to_json() == front.to_json()
    assert [vector.key for vector in same] == [vector.key for vector in vectors]
    assert [path.read_text() for path in ledgers] == before


def test_policies_agree_on_the_scores(tmp_path):
    words = ["reward=length", "search=coarse", "evaluation.generation.temperature=0"]
    per_row, _, _ = front_of(experiment(tmp_path, *words), tmp_path / "a")
    merged, _, _ = front_of(experiment(tmp_path, *words, "policy=merged"), tmp_path / "b")
    assert [p.scores for p in merged.points] == [p.scores for p in per_row.points]


@pytest.mark.parametrize(("height", "warned"), [(1e6, True), (-1e6, False)])
def test_a_reference_point_above_all_scores_is_warned_of(tmp_path, capsys, height, warned):
    point = f"evaluation.reference_point={{helpful:{height},harmless:{height}}}"
    front, _, _ = front_of(experiment(tmp_path, "reward=length", "search=one_hot", point), tmp_path / "run")
    captured = capsys.readouterr()
    text = " ".join((captured.out + captured.err).split())
    assert (front.hypervolume == 0) == warned
    warning = "no candidate exceeds the reference point (helpful 1e+06, harmless 1e+06)"
    assert (warning in text) == warned


def test_a_model_that_takes_no_packed_rows_falls_back_and_learns_the_same(tmp_path):
    setup = experiment(tmp_path, "reward=length", "search=one_hot")
    data, _ = setup.data.load(setup.values)
    (tmp_path / "run").mkdir()
    backbone = setup.model.load()
    plain = replace(backbone, capabilities=replace(backbone.capabilities, packed=False))
    norms = []
    for i, body in enumerate([backbone, plain]):
        session = open_session(
            replace(setup, store=type(setup.store)(tmp_path / str(i))), body, data, Stages(tmp_path / "run")
        )
        norms.append([vector.norm() for vector in train_vectors(session, log=lambda _metrics, _step: None)])
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


@pytest.mark.parametrize("option", ["evaluation.generation.max_prompt_tokens", "reward.limits.prompt"])
def test_a_limit_that_the_template_exceeds_is_refused_by_name_before_anything_is_trained(option, tmp_path):
    setup = experiment(tmp_path, "reward=preference_head", f"{option}=3")
    data, _ = setup.data.load(setup.values)
    (tmp_path / "run").mkdir()
    session = open_session(setup, setup.model.load(), data, Stages(tmp_path / "run"))
    with pytest.raises(ValueError, match=rf"^{option}=3: the chat template .* take 19 tokens of the prompt's 3"):
        check_session(session)


def test_pairs_alone_give_a_front_without_a_reward_or_a_response(tmp_path, monkeypatch):
    setup = experiment(tmp_path, "evaluation.by=pairs", "evaluation.n_pairs=4", "search=coarse")
    monkeypatch.setattr(HfResponder, "answer", None)
    front, _, _ = front_of(setup, tmp_path / "run", rewards=False)
    assert front.scored_by == "pairs"
    assert front.base.scores == pytest.approx(dict.fromkeys(front.values, math.log(0.5)))
    assert all(point.scores_held_out and 0 <= point.membership_probability <= 1 for point in front.points)
    assert front.hypervolume_held_out_true is not None
    assert not (tmp_path / "run" / "generations.jsonl").exists()
    ledgers = [tmp_path / "run" / f"{name}.jsonl" for name in ("candidates", "pair_margins")]
    before = [path.read_text() for path in ledgers]
    monkeypatch.setattr(by_pairs, "log_prob_differences", None)
    again, _, _ = front_of(setup, tmp_path / "run", rewards=False)
    assert again.to_json() == front.to_json()
    assert [path.read_text() for path in ledgers] == before


def test_policies_agree_on_the_scores_by_pairs(tmp_path):
    words = ["evaluation.by=pairs", "evaluation.n_pairs=4", "search=coarse"]
    per_row, _, _ = front_of(experiment(tmp_path, *words), tmp_path / "a", rewards=False)
    merged, _, _ = front_of(experiment(tmp_path, *words, "policy=merged"), tmp_path / "b", rewards=False)
    for one, other in zip(per_row.points, merged.points, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


@pytest.mark.parametrize("method", ["ties", "loss_weighting", "modpo", "sequential_dpo"])
def test_methods_whose_policy_is_one_model_are_scored_by_pairs(method, tmp_path):
    setup = experiment(tmp_path, f"method={method}", "evaluation.by=pairs", "evaluation.n_pairs=4")
    data, _ = setup.data.load(setup.values)
    session = open_session(setup, setup.model.load(), data, Stages(tmp_path))
    vectors = train_vectors(session, log=lambda _metrics, _step: None)
    front = find_front(session, vectors, {}, Ledger(tmp_path))
    assert front.scored_by == "pairs"
    assert all(set(point.scores) == {"helpful", "harmless"} for point in front.points)
    assert front.n_candidates > len(setup.values)


def test_a_mixture_is_refused_by_pairs_in_a_sentence_before_anything_is_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"^evaluation\.by is pairs, .* choose evaluation\.by=responses\.$"):
        experiment(tmp_path, "method=mod_decoding", "evaluation.by=pairs")


def test_a_loss_on_averages_needs_a_beta_of_its_own_for_pairs(tmp_path):
    with pytest.raises(ValueError, match=r"^evaluation\.pair_beta is null, and SimPO .* such as 0\.1\.$"):
        experiment(tmp_path, "objective=simpo", "evaluation.by=pairs")
    assert experiment(tmp_path, "objective=simpo", "evaluation.by=both", "evaluation.pair_beta=0.2").pair_beta == 0.2
    assert experiment(tmp_path, "objective.beta=0.3").pair_beta == 0.3


def test_too_few_pairs_are_refused_before_anything_is_trained(tmp_path):
    setup = experiment(tmp_path, "evaluation.by=both", "evaluation.n_pairs=1")
    data, _ = setup.data.load(setup.values)
    (tmp_path / "run").mkdir()
    session = open_session(setup, setup.model.load(), data, Stages(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"^'helpful' has validation pairs on 1 prompts, .* raise evaluation\.n_pairs"):
        check_session(session)


def test_scored_by_both_the_second_record_has_the_same_candidates(tmp_path):
    setup = experiment(tmp_path, "evaluation.by=both", "evaluation.n_pairs=4", "search=coarse", "reward=length")
    setup = replace(setup, evaluation=replace(setup.evaluation, reference_point={"helpful": 0.0, "harmless": 0.0}))
    data, _ = setup.data.load(setup.values)
    folder = tmp_path / "run"
    (folder / "pairs").mkdir(parents=True)
    session = open_session(setup, setup.model.load(), data, Stages(folder))
    check_session(session)
    vectors, ledger = train_vectors(session, log=lambda _metrics, _step: None), Ledger(folder)
    front = find_front(session, vectors, make_rewards(session, vectors), ledger)
    second = find_front_by_pairs(session, vectors, ledger.current("validation"), Ledger(folder / "pairs"))
    assert (front.scored_by, second.scored_by) == ("responses", "pairs")
    assert second.n_candidates == front.n_candidates
    assert second.reference_point_rule.startswith("nadir")  # a given one is in the rewards' units
    lines = [
        [json.loads(line) for line in (home / "candidates.jsonl").read_text().splitlines()]
        for home in (folder, folder / "pairs")
    ]
    ids = [{line["id"] for line in each if line["split"] == "validation"} for each in lines]
    assert ids[0] == ids[1]
    assert all("accuracies" in line for line in lines[1])
    assert not any("accuracies" in line for line in lines[0])
