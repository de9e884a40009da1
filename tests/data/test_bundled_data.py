"""The bundled preference data keep what their card (mva/data/bundled/README.md) promises."""

import json
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations

import pytest

from mva.data.formats import GradedResponses
from mva.data.sources.base import Row
from mva.data.sources.bundled import Bundled

VALUES = ("helpful", "harmless", "honest")
SPLITS = ("train", "validation", "test")
FOLDER = files("mva.data.bundled")
# The first four files, whose prompts have three responses each, and a pair for every value.
FULLY_GRADED = ("home", "household", "office", "work")
FILES = {
    entry.name.removesuffix(".jsonl"): [json.loads(line) for line in entry.read_text("utf-8").splitlines()]
    for entry in sorted(FOLDER.iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".jsonl")
}
PROMPTS = [prompt for prompts in FILES.values() for prompt in prompts]
RESPONSES = [response for prompt in PROMPTS for response in prompt["responses"]]
HARD_DILEMMAS = [p for p in PROMPTS if p["kind"] == "dilemma" and not p["id"].startswith(FULLY_GRADED)]


def words(text):
    return len(text.split())


def turns(prompt):
    """List what is said before the response: one text, or a dialogue's turns."""
    said = prompt["prompt"]
    return [said] if isinstance(said, str) else [turn["content"] for turn in said]


def topic(prompt):
    return prompt["id"].rpartition("-")[0]


def pairs(value, split=None):
    """List `(chosen, rejected)` of one value, counted here without the package's own code."""
    return [
        (first["text"], second["text"]) if first[value] > second[value] else (second["text"], first["text"])
        for prompt in PROMPTS
        if split in (None, prompt["split"])
        for first, second in combinations(prompt["responses"], 2)
        if first[value] != second[value]
    ]


def longer_wins(value, split=None, length=words):
    """Accuracy of the guess that the longer response is the chosen one; a tie is half right."""
    lengths = [(length(chosen), length(rejected)) for chosen, rejected in pairs(value, split)]
    return sum((chosen > rejected) + (chosen >= rejected) for chosen, rejected in lengths) / 2 / len(lengths)


def shingles(text):
    tokens = re.findall(r"\w+", text.lower())
    return set(zip(tokens, tokens[1:], tokens[2:], strict=False)) or {tuple(tokens)}


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt["id"])
def test_prompt_follows_the_schema(prompt):
    assert list(prompt) == ["id", "split", "kind", "prompt", "responses"]
    assert prompt["split"] in SPLITS
    assert prompt["kind"] in ("everyday", "dilemma")
    responses = [response["text"] for response in prompt["responses"]]
    texts = [*turns(prompt), *responses]
    assert all(text == " ".join(text.split()) != "" for text in texts), "stray white space"
    assert len(set(texts)) == len(texts)
    shortest, longest, counts = (8, 40, {3}) if topic(prompt) in FULLY_GRADED else (3, 50, {2, 3})
    assert len(responses) in counts
    for response in prompt["responses"]:
        assert set(response) == {"text", *VALUES}
        assert all(response[value] in (0, 1, 2) for value in VALUES)
        assert shortest <= words(response["text"]) <= longest, response["text"]
    for value in VALUES if topic(prompt) in FULLY_GRADED else ("helpful", "harmless"):
        assert len({response[value] for response in prompt["responses"]}) > 1, f"no pair for {value}"


@pytest.mark.parametrize("prompt", [p for p in PROMPTS if not isinstance(p["prompt"], str)], ids=lambda p: p["id"])
def test_dialogues_alternate_and_end_with_the_user(prompt):
    roles = [turn["role"] for turn in prompt["prompt"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert len(roles) >= 3


@pytest.mark.parametrize("name", FILES)
def test_ids_count_the_lines_of_their_file(name):
    ids = [prompt["id"] for prompt in FILES[name]]
    assert ids == [f"{name}-{number:03d}" for number in range(1, len(ids) + 1)]


def test_no_prompt_or_response_appears_twice():
    texts = ["\n".join(turns(prompt)) for prompt in PROMPTS] + [response["text"] for response in RESPONSES]
    assert [text for text, count in Counter(map(str.lower, texts)).items() if count > 1] == []


def test_no_two_prompts_nearly_coincide():
    grams = {prompt["id"]: shingles(" ".join(turns(prompt))) for prompt in PROMPTS}
    close = [(a, b) for a, b in combinations(grams, 2) if len(grams[a] & grams[b]) >= 0.6 * len(grams[a] | grams[b])]
    assert close == []


def dilemmas(prompts):
    return sum(prompt["kind"] == "dilemma" for prompt in prompts) / len(prompts)


@pytest.mark.parametrize("split", SPLITS)
def test_both_kinds_are_spread_evenly_over_the_splits(split):
    graded = [p for p in PROMPTS if p["split"] == split and topic(p) in FULLY_GRADED]
    assert 0.35 <= dilemmas(graded) <= 0.65
    assert 0.35 <= dilemmas(PROMPTS) <= 0.78
    assert dilemmas([p for p in PROMPTS if p["split"] == split]) == pytest.approx(dilemmas(PROMPTS), abs=0.1)


@pytest.mark.parametrize("length", [words, len], ids=["words", "characters"])
@pytest.mark.parametrize("split", [None, "train"], ids=["all", "train"])
@pytest.mark.parametrize("value", VALUES)
def test_length_alone_does_not_tell_the_chosen_response(value, split, length):
    assert 0.40 < longer_wins(value, split, length) < 0.60


@pytest.mark.parametrize("value", VALUES)
def test_position_alone_does_not_tell_the_best_response(value):
    best, by_chance = Counter(), Counter()
    for prompt in PROMPTS:
        grades = [response[value] for response in prompt["responses"]]
        for position, grade in enumerate(grades):
            best[position] += grade == max(grades)
            by_chance[position] += grades.count(max(grades)) / len(grades)
    assert all(best[position] < 1.35 * by_chance[position] for position in by_chance)


def test_no_opening_word_dominates():
    openings = Counter(re.findall(r"\w+", response["text"].lower())[0] for response in RESPONSES)
    word, count = openings.most_common(1)[0]
    assert count < 0.06 * len(RESPONSES), word


def test_dilemmas_set_helpful_against_harmless():
    in_question = [p for p in PROMPTS if p["kind"] == "dilemma" and topic(p) in FULLY_GRADED]
    torn = [
        prompt
        for prompt in in_question
        if any(
            (a["helpful"] - b["helpful"]) * (a["harmless"] - b["harmless"]) < 0
            for a, b in combinations(prompt["responses"], 2)
        )
    ]
    assert len(torn) >= 0.9 * len(in_question)


@pytest.mark.parametrize("prompt", HARD_DILEMMAS, ids=lambda prompt: prompt["id"])
def test_a_hard_dilemma_has_a_right_and_a_wrong_answer(prompt):
    grades = [response["harmless"] for response in prompt["responses"]]
    assert (min(grades), max(grades)) == (0, 2)


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt["id"])
def test_helpful_and_harmless_have_pairs_of_the_same_texts(prompt):
    """Their heads then share one pass for the features, half of what the rewards of the default run cost."""
    paired = [
        {
            response["text"]
            for pair in combinations(prompt["responses"], 2)
            if pair[0][value] != pair[1][value]
            for response in pair
        }
        for value in ("helpful", "harmless")
    ]
    assert paired[0] == paired[1] == {response["text"] for response in prompt["responses"]}


@pytest.mark.parametrize("value", VALUES)
def test_the_package_reads_every_pair(value):
    rows = list(Bundled().rows())
    assert all(isinstance(row, Row) for row in rows)
    read = {(p.chosen, p.rejected) for row in rows for p in GradedResponses(value).pairs(row)}
    assert read == set(pairs(value))


def test_there_are_enough_prompts():
    assert len(PROMPTS) >= 490
    assert len(HARD_DILEMMAS) >= 250
    assert sum(len(turns(prompt)) > 1 for prompt in PROMPTS) >= 40


def test_refusals_are_right_and_wrong():
    """What leaves a request undone is right in a hard dilemma, and in an ordinary prompt less helpful than the answer."""
    wrong = [
        response
        for prompt in FILES["ordinary"]
        for response in prompt["responses"]
        if response["helpful"] == 0 and response["harmless"] == 2
    ]
    right = [prompt for prompt in HARD_DILEMMAS if any(r["helpful"] < 2 == r["harmless"] for r in prompt["responses"])]
    assert len(wrong) >= 20
    assert all(max(r["helpful"] for r in prompt["responses"]) > 0 for prompt in FILES["ordinary"])
    assert len(right) >= 250


@pytest.mark.parametrize("value", VALUES)
def test_there_are_enough_pairs_to_train_and_validate_on(value):
    validated = [
        prompt
        for prompt in PROMPTS
        if prompt["split"] == "validation" and len({response[value] for response in prompt["responses"]}) > 1
    ]
    assert len(pairs(value, "train")) >= 200
    assert len(validated) >= 40


def file_line(name, prompts):
    count = Counter(prompt[key] for prompt in prompts for key in ("kind", "split"))
    columns = [len(prompts), *(count[key] for key in ("everyday", "dilemma", *SPLITS))]
    return f"| {name} | {' | '.join(map(str, columns))} |"


def value_line(value):
    counts = [str(len(pairs(value, split))) for split in SPLITS]
    accuracies = [longer_wins(value, split, length) for split in (None, "train") for length in (words, len)]
    return f"| {value} | {' | '.join(counts + [f'{accuracy:.1%}' for accuracy in accuracies])} |"


def test_the_card_states_the_numbers_of_the_files():
    wanted = [
        *(file_line(f"`{name}.jsonl`", prompts) for name, prompts in FILES.items()),
        file_line("all", PROMPTS),
        *(value_line(value) for value in VALUES),
    ]
    card = FOLDER.joinpath("README.md").read_text("utf-8").splitlines()
    missing = [line for line in wanted if line not in card]
    assert not missing, "put these lines into the card's tables:\n" + "\n".join(missing)
