"""Rows as public data sets have them, with the faults that turn a preference round or lose a turn."""

import json
import random
from contextlib import suppress

import pytest

from mva.data.checks import check_value
from mva.data.formats import (
    GradedResponses,
    IndexedPair,
    LengthRanked,
    PairColumns,
    StrengthPair,
    Transcripts,
)
from mva.data.loading import read_pairs
from mva.data.preference import Message, ValueData
from mva.data.sources.base import BadRow, DataUnavailable, Row
from mva.data.sources.local_files import LocalFiles

NAN, INFINITY = float("nan"), float("inf")


def message(role, content):
    return {"role": role, "content": content}


def only_pair(form, **fields):
    (pair,) = form.pairs(Row("f:3", fields))
    return pair


@pytest.mark.parametrize("grade", [NAN, INFINITY, -INFINITY, True, False, None, "2", [1], 10**400])
def test_a_grade_that_is_no_finite_number_is_a_bad_row(grade):
    responses = [{"text": "good", "g": 2.0}, {"text": "odd", "g": grade}, {"text": "bad", "g": 0}]
    with pytest.raises(BadRow, match=r"f:3: 'g' must be a finite number, not "):
        list(GradedResponses("g").pairs(Row("f:3", {"prompt": "p", "responses": responses})))


@pytest.mark.parametrize("strength", [NAN, INFINITY, True, "-2", None])
def test_a_strength_that_is_no_finite_number_is_a_bad_row(strength):
    fields = {"prompt": "p", "response_1": "a", "response_2": "b", "preference_strength": strength}
    with pytest.raises(BadRow, match=r"f:3: .*preference_strength"):
        list(StrengthPair().pairs(Row("f:3", fields)))


@pytest.mark.parametrize("better", [True, False, NAN, 2, -1, "0", None])
def test_an_index_that_is_neither_0_nor_1_is_a_bad_row(better):
    fields = {"prompt": "p", "response_0": "a", "response_1": "b", "better": better}
    with pytest.raises(BadRow, match="better"):
        list(IndexedPair("better").pairs(Row("f:3", fields)))


def test_finite_numbers_decide_as_before():
    responses = [{"text": "worse", "g": -0.5}, {"text": "better", "g": 1}]
    pair = only_pair(GradedResponses("g"), prompt="p", responses=responses)
    assert (pair.chosen, pair.rejected) == ("better", "worse")


def test_a_rule_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"^prefer is 'shortest': choose short or long"):
        LengthRanked("shortest")


FIRST = [message("user", "Name a fish."), message("assistant", "Cod."), message("user", "And a tree?")]
PROMPT = (Message("user", "Name a fish."), Message("assistant", "Cod."), Message("user", "And a tree?"))
SYSTEM = message("system", "Be brief.")


def whole(answer, before=FIRST):
    return [*before, message("assistant", answer)]


def test_the_turns_of_whole_dialogues_are_kept_beside_a_prompt_column():
    pair = only_pair(PairColumns(), prompt="Name a fish.", chosen=whole("Oak."), rejected=whole("Car."))
    assert pair.prompt == PROMPT
    assert (pair.chosen, pair.rejected) == ("Oak.", "Car.")


@pytest.mark.parametrize("prompt", [FIRST, FIRST[:1], "Name a fish."])
def test_a_prompt_that_begins_the_dialogue_is_taken(prompt):
    assert only_pair(PairColumns(), prompt=prompt, chosen=whole("a"), rejected=whole("b")).prompt == PROMPT


def test_a_system_turn_may_stand_before_a_prompt_of_plain_text():
    dialogue = [SYSTEM, *FIRST[:1]]
    pair = only_pair(PairColumns(), prompt="Name a fish.", chosen=whole("a", dialogue), rejected=whole("b", dialogue))
    assert pair.prompt == (Message("system", "Be brief."), Message("user", "Name a fish."))


@pytest.mark.parametrize("prompt", ["Name a bird.", "And a tree?", [message("user", "Name a bird.")], [SYSTEM, *FIRST]])
def test_a_prompt_that_contradicts_the_dialogue_is_a_bad_row(prompt):
    with pytest.raises(BadRow, match="the prompt is not the beginning of the dialogue"):
        only_pair(PairColumns(), prompt=prompt, chosen=whole("a"), rejected=whole("b"))


def test_dialogues_that_part_before_the_last_answer_are_a_bad_row():
    other = [FIRST[0], message("assistant", "Eel."), FIRST[2]]
    with pytest.raises(BadRow, match="different prompts"):
        only_pair(PairColumns(), prompt="Name a fish.", chosen=whole("a"), rejected=whole("b", other))


def test_an_answer_alone_follows_the_prompt_column():
    answers = {"chosen": [message("assistant", "a")], "rejected": "b"}
    pair = only_pair(PairColumns(), prompt=[SYSTEM, *FIRST], **answers)
    assert pair.prompt == (Message("system", "Be brief."), *PROMPT)
    assert (pair.chosen, pair.rejected) == ("a", "b")


def test_other_spellings_of_messages_are_read():
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    parts = [message("user", [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]), message("assistant", "x")]
    pair = only_pair(PairColumns(prompt=None), chosen=turns, rejected=parts)
    assert (pair.prompt, pair.chosen, pair.rejected) == ((Message("user", "Hi"),), "Hello", "x")


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        (message("tool", "4"), "role is 'tool'"),
        (message("user", None), "content is no text but NoneType"),
        (message("user", [{"type": "image"}]), "has a part that is no text"),
        ({"from": "bing", "value": "x"}, "role is 'bing'"),
        ("Hi", "no mapping but str"),
    ],
)
def test_messages_of_other_kinds_are_bad_rows(turn, problem):
    with pytest.raises(BadRow, match=problem):
        only_pair(PairColumns(prompt=None), chosen=[turn, message("assistant", "a")], rejected=whole("b"))


def test_helpsteer_marks_become_turns():
    prompt = "Name a sea.\n<extra_id_1>Assistant\nThe Baltic.\nIt is cold.\n<extra_id_1>User\nAnother?"
    pair = only_pair(StrengthPair(), prompt=prompt, response_1="a", response_2="b", preference_strength=3)
    expected = (("user", "Name a sea."), ("assistant", "The Baltic.\nIt is cold."), ("user", "Another?"))
    assert pair.prompt == tuple(Message(*turn) for turn in expected)
    assert (pair.chosen, pair.rejected) == ("b", "a")


def test_helpsteer_marks_that_leave_no_user_turn_at_the_end_are_a_bad_row():
    with pytest.raises(BadRow, match="does not end with a user turn"):
        only_pair(
            StrengthPair(),
            prompt="Hi\n<extra_id_1>Assistant\nHo",
            response_1="a",
            response_2="b",
            preference_strength=1,
        )


def transcripts(chosen, rejected):
    return Row("f:3", {"chosen": chosen, "rejected": rejected})


ASK = "\n\nHuman: Name a star"


@pytest.mark.parametrize(
    ("ending", "answer", "goes_on"),
    [
        ("\n\nAssistant: Vega.", "Vega.", False),
        ("\n\nAssistant: Vega.\n\nHuman: Thanks!", "Vega.", True),
        ("\n\nAssistant: Vega.\n\nHuman: Thanks!\n\nHuman: And?", "Vega.", True),
        ("\n\nAssistant: Vega.\nHuman: ok", "Vega.", True),
        ("\n\nAssistant: Let me think.\n\nAssistant: Vega.", "Let me think.\n\nVega.", False),
        ("\n\nAssistant: A  b\n\n\nc", "A  b\n\n\nc", False),
    ],
)
def test_a_transcript_ends_with_the_last_assistant_turn(ending, answer, goes_on):
    (pair,) = Transcripts().pairs(transcripts(ASK + ending, f"{ASK}\n\nAssistant: Sun"))
    assert pair.prompt == (Message("user", "Name a star"),)
    assert (pair.chosen, pair.rejected) == (answer, "Sun")
    assert bool(pair.note) == goes_on


def test_cut_transcripts_are_counted():
    going_on = transcripts(f"{ASK}\n\nAssistant: Vega.\n\nHuman: ok", f"{ASK}\n\nAssistant: Sun")
    plain = transcripts("\n\nHuman: Hi\n\nAssistant: a", "\n\nHuman: Hi\n\nAssistant: b")
    pairs = [pair for row in (going_on, plain) for pair in read_pairs(row, Transcripts())]
    report = check_value(ValueData("kind", tuple(pairs), (), ()))
    assert report.problems == {"a transcript goes on for the human behind the last assistant turn: cut there": ("f:3",)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{ASK}\n\nAssistant:", "the chosen response is empty"),
        (f"{ASK}\nAssistant: Vega.", "a label must follow an empty line"),
        (ASK, "has no assistant turn"),
        ("\n\nAssistant: Hi, who are you?", "the prompt is empty"),
        (f"{ASK}\n\nAssistant: \n\nHuman: hello?", "the chosen response is empty"),
    ],
)
def test_transcripts_without_an_answer_are_bad_rows(text, problem):
    with pytest.raises(BadRow, match=problem):
        list(Transcripts().pairs(transcripts(text, f"{ASK}\n\nAssistant: Sun")))


def rows_of(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(LocalFiles(str(path)).rows())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"prompt": "a", "prompt": "b"}', "the key 'prompt' stands twice"),
        ('{"responses": [{"text": "a", "g": 1, "g": 2}]}', "the key 'g' stands twice"),
        ('{"n": ' + "7" * 5000 + "}", "can't be read"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"a": ' + '{"b": ' * 50_000 + "1" + "}" * 50_001, "nested too deep"),
    ],
)
def test_json_without_one_clear_reading_is_a_bad_row_and_reading_goes_on(tmp_path, line, problem):
    bad, good = rows_of(tmp_path, "d.jsonl", f'{line}\n{{"prompt": "p"}}\n')
    assert isinstance(bad, BadRow)
    assert bad.origin.endswith("d.jsonl:1")
    assert problem in bad.problem
    assert good.fields == {"prompt": "p"}


def test_long_csv_cells_are_read(tmp_path):
    (row,) = rows_of(tmp_path, "d.csv", "prompt,chosen,rejected\np," + "c" * 150_000 + ",r\n")
    assert len(row.fields["chosen"]) == 150_000


def test_a_csv_quote_that_never_closes_is_said_with_the_line_where_it_opens(tmp_path):
    good, bad = rows_of(tmp_path, "d.csv", 'prompt,chosen,rejected\np,c,r\nq,"open,r\nx,y,z\n')
    assert good.fields["prompt"] == "p"
    assert isinstance(bad, BadRow)
    assert bad.origin.endswith("d.csv:3")
    assert "check its quotes" in bad.problem


def test_a_csv_cell_beyond_reason_is_a_bad_row(tmp_path):
    rows = rows_of(tmp_path, "d.csv", 'prompt,chosen\np,"' + "c" * (2**24 + 10) + '"\nq,d\n')
    assert isinstance(rows[0], BadRow)
    assert rows[-1].fields == {"prompt": "q", "chosen": "d"}


def test_a_csv_column_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(DataUnavailable, match="names the column 'chosen' twice"):
        rows_of(tmp_path, "d.csv", "prompt,chosen,chosen\na,b,c\n")


def test_messages_show_control_characters_escaped_and_are_short():
    bad = BadRow("f:1", "the role is \x1b[31mred\x1b[0m" + "x" * 10_000)
    assert "\x1b" not in str(bad)
    assert r"\x1b[31mred" in str(bad)
    assert len(str(bad)) < 600


FORMS = (
    PairColumns(),
    PairColumns(prompt=None),
    PairColumns(dialogue=True),
    Transcripts(),
    IndexedPair("better"),
    StrengthPair(),
    GradedResponses("g"),
    LengthRanked("short"),
)
NAMES = (
    "prompt",
    "chosen",
    "rejected",
    "responses",
    "response_0",
    "response_1",
    "response_2",
    "better",
    "text",
    "g",
    "preference_strength",
    "role",
    "content",
    "from",
    "value",
)


def odd_value(draw, depth=0):
    simple = [
        None,
        True,
        0,
        1,
        -3,
        2.5,
        NAN,
        INFINITY,
        "",
        " ",
        "text",
        "\n\nHuman: a\n\nAssistant: b",
        "\ud83d",
        "user",
        "assistant",
        b"bytes",
        10**30,
    ]
    kind = draw.random()
    if depth > 3 or kind < 0.5:
        return draw.choice(simple)
    if kind < 0.75:
        return [odd_value(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    return {draw.choice(NAMES): odd_value(draw, depth + 1) for _ in range(draw.randint(0, 4))}


def test_no_row_of_any_shape_gives_anything_but_pairs_or_a_bad_row():
    draw = random.Random(0)
    outcomes = {"pairs": 0, "bad": 0}
    for _ in range(4000):
        usual = {name: draw.choice(["a text", "another text", 1, 0]) for name in NAMES}
        row = Row("f:1", usual | {name: odd_value(draw) for name in draw.sample(NAMES, draw.randint(0, 8))})
        for form in FORMS:
            try:
                pairs = list(form.pairs(row))
            except BadRow:
                outcomes["bad"] += 1
            else:
                assert all(pair.chosen.strip() and pair.rejected.strip() and pair.prompt for pair in pairs)
                outcomes["pairs"] += 1
    assert min(outcomes.values()) > 100


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".parquet"])
def test_no_bytes_give_anything_but_rows_or_one_clear_sentence(tmp_path, suffix):
    draw = random.Random(1)
    for k in range(60):
        content = draw.choice(
            [draw.randbytes(200), b'{"a": ' * k, b'"\x00,\xff\n' * k, json.dumps({"a": [k]}).encode()]
        )
        with suppress(DataUnavailable):
            rows = rows_of(tmp_path, f"d{k}{suffix}", content)
            assert all(isinstance(row, Row | BadRow) for row in rows)


@pytest.mark.parametrize(
    "form", [lambda columns: IndexedPair("b", responses=columns), lambda c: StrengthPair(responses=c)]
)
@pytest.mark.parametrize("columns", [["a"], ["a", "b", "c"], ["a", "a"], "ab", []])
def test_a_pair_is_made_of_two_columns(form, columns):
    with pytest.raises(ValueError, match=r"^responses is .*: choose a list"):
        form(columns)


def test_a_human_turn_between_two_assistant_turns_is_never_lost():
    """Under a label that follows no empty line, it would be joined to the answer, and cut off with all behind it."""
    ending = "\n\nAssistant: Which one?\nHuman: A near one\n\nAssistant: "
    with pytest.raises(BadRow, match="does not end with a user turn"):
        list(Transcripts().pairs(transcripts(f"{ASK}{ending}Vega.", f"{ASK}{ending}Sun.")))


def test_labels_behind_several_empty_lines_begin_a_turn():
    prompt = "Human: Hi\n\n\nAssistant: Ho\n\n\n\nHuman: Name a star"
    labelled = only_pair(PairColumns(dialogue=True), prompt=prompt, chosen="a", rejected="b")
    (transcript,) = Transcripts().pairs(transcripts(*(f"{prompt}\n\n\nAssistant: {answer}" for answer in "ab")))
    expected = (Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "Name a star"))
    assert labelled.prompt == transcript.prompt == expected
    assert labelled.note == transcript.note == ""


@pytest.mark.parametrize(
    ("prompt", "chosen"),
    [("Human: Hi\nAssistant: Ho", "a"), ("Hi", "a\nAssistant: c"), ("Hi", "a\n\nHuman: c"), ("Hi", "Assistant: a")],
)
def test_labels_that_stay_in_a_labelled_row_are_counted(prompt, chosen):
    kept = only_pair(PairColumns(dialogue=True), prompt=prompt, chosen=chosen, rejected="b")
    assert kept.chosen == chosen
    assert kept.note == "a line that begins with a speaker's label is read as text"
    assert only_pair(PairColumns(), prompt=prompt, chosen=chosen, rejected="b").note == ""
