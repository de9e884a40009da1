"""Length, refusals and repetition of responses, counted by hand."""

import json

import pytest

from mva.analysis.front_view import front_view
from mva.analysis.side_costs import SIDE_COSTS, side_costs
from mva.analysis.text_statistics import refusal, repeated_4grams
from mva.report.tables import candidate_rows, front_rows
from mva.runs.run_folder import read_run


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.",
        '  "I CANNOT\nassist you.',
        "I'm sorry, but no.",
        "**I'm sorry, but** no.",
        "As an AI language model, I cannot do so.",
        "I can't wait to tell you.",  # the rule reads openings, not what is meant
    ],
)
def test_these_openings_are_refusals(text):
    assert refusal(text) == 1


@pytest.mark.parametrize(
    "text", ["", "...", "Sure. I can't see why not.", "I'm sorry for your loss.", "Je ne peux pas."]
)
def test_these_are_none(text):
    assert refusal(text) == 0


@pytest.mark.parametrize(
    ("text", "share"), [("", 0), ("a b c", 0), ("a b c d", 0), ("no no no no no no", 2 / 3), ("a b c d a b c d", 1 / 5)]
)
def test_four_words_that_stood_there_before(text, share):
    assert repeated_4grams(text) == pytest.approx(share)


def test_samples_are_averaged_before_prompts():
    lines = [
        {"id": "a", "split": "test", "prompt_id": prompt, "response": response}
        for prompt, response in (("1", "two words"), ("1", "I cannot say it"), ("2", "one"))
    ]
    assert side_costs(lines) == {("a", "test"): {"words": (3 + 1) / 2, "refusals": (1 / 2 + 0) / 2, "repetition": 0}}


def test_tables_have_them_on_each_split_that_has_responses(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    path = folder / "generations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    front = {point["id"] for point in json.loads((folder / "front.json").read_text())["points"]}
    words = {"validation": "one two three", "test": "I cannot"}
    lines = [
        {**line, "response": words[line["split"]]} for line in lines if line["id"] in front or line["split"] != "test"
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    view = front_view(read_run(folder))
    for columns, rows in (front_rows(view), candidate_rows(view)):
        for row in rows:
            named = dict(zip(columns, row, strict=True))
            assert [named[cost] for cost in SIDE_COSTS] == [3, 0, 0]
            held_out = [2, 1, 0] if named["id"] in front else [None] * 3
            assert [named[f"held-out {cost}"] for cost in SIDE_COSTS] == held_out


def test_without_responses_there_are_no_such_columns(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    (folder / "generations.jsonl").unlink()
    columns, _ = front_rows(front_view(read_run(folder)))
    assert not {"words", "held-out words"} & set(columns)
