import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from mva.data.formats import (
    GradedResponses,
    IndexedPair,
    LengthRanked,
    PairColumns,
    StrengthPair,
    Transcripts,
)
from mva.data.preference import Message, PreferencePair, user_prompt
from mva.data.sources.base import BadRow, Row
from mva.data.sources.local_files import LocalFiles

SHARED = Path(os.environ.get("MVA_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no folder MVA_SHARED_DATA")
HI = {"role": "user", "content": "Hi"}
PLAIN = {"prompt": "p", "chosen": "c", "rejected": "r"}


def pairs(form, **fields):
    return list(form.pairs(Row("file:7", fields)))


def pair(prompt, chosen, rejected):
    return PreferencePair(user_prompt(prompt), chosen, rejected, "file:7")


def assistant(text):
    return {"role": "assistant", "content": text}


def test_columns_of_plain_text_lose_their_outer_blanks():
    assert pairs(PairColumns(), prompt=" p\n", chosen="c ", rejected=" r") == [pair("p", "c", "r")]


def test_columns_go_by_the_configured_names():
    form = PairColumns("question", "good", "bad")
    assert pairs(form, question="p", good="c", bad="r", chosen="no") == [pair("p", "c", "r")]


def test_a_prompt_of_chat_messages_keeps_its_roles():
    system = {"role": "system", "content": "Be kind."}
    (found,) = pairs(PairColumns(), prompt=[system, HI], chosen=[assistant("c")], rejected=[assistant("r")])
    assert found.prompt == (Message("system", "Be kind."), Message("user", "Hi"))
    assert (found.chosen, found.rejected) == ("c", "r")


def test_whole_dialogues_share_their_beginning_as_the_prompt():
    before = [HI, assistant("Hello"), {"role": "user", "content": "More"}]
    (found,) = pairs(PairColumns(prompt=None), chosen=[*before, assistant("c")], rejected=[*before, assistant("r")])
    assert found.prompt == (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "More"))
    assert (found.chosen, found.rejected) == ("c", "r")


def test_labelled_prompts_are_read_as_turns_only_when_asked_to():
    text = "Human: a\n\nAssistant: b\n\nwith a paragraph\n\nHuman: c"
    (found,) = pairs(PairColumns(dialogue=True), **PLAIN | {"prompt": text})
    turns = [("user", "a"), ("assistant", "b\n\nwith a paragraph"), ("user", "c")]
    assert found.prompt == tuple(Message(*turn) for turn in turns)
    assert pairs(PairColumns(), **PLAIN | {"prompt": text}) == [pair(text, "c", "r")]


def test_a_prompt_without_labels_is_one_user_turn():
    text = "Dear all,\n\nHumans: who needs them?\n\n    code"
    assert pairs(PairColumns(dialogue=True), **PLAIN | {"prompt": text}) == [pair(text, "c", "r")]


def test_consecutive_turns_of_a_speaker_become_one():
    (found,) = pairs(PairColumns(dialogue=True), **PLAIN | {"prompt": "Human: a\n\nHuman: b"})
    assert found.prompt == user_prompt("a\n\nb")


def test_transcripts_part_before_the_last_assistant_turn():
    before = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    (found,) = pairs(Transcripts(), chosen=f"{before} good\n\nindeed", rejected=f"{before} bad")
    assert found.prompt == (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert (found.chosen, found.rejected) == ("good\n\nindeed", "bad")


@pytest.mark.parametrize(("better", "expected"), [(0, ("x", "y")), (1, ("y", "x"))])
def test_the_index_names_the_better_response(better, expected):
    (found,) = pairs(IndexedPair("safer"), prompt="p", response_0="x", response_1="y", safer=better, other=1 - better)
    assert (found.chosen, found.rejected) == expected


@pytest.mark.parametrize(("strength", "expected"), [(-3, [("x", "y")]), (0, []), (1, [("y", "x")])])
def test_a_positive_strength_prefers_the_second_response(strength, expected):
    found = pairs(StrengthPair(), prompt="p", response_1="x", response_2="y", preference_strength=strength)
    assert [(p.chosen, p.rejected) for p in found] == expected


RESPONSES = [
    {"text": "one two three", "helpful": 2, "harmless": 0},
    {"text": "one", "helpful": 0, "harmless": 2},
    {"text": "two words", "helpful": 2, "harmless": 1},
]


def test_grades_pair_every_two_responses_that_differ_in_them():
    found = pairs(GradedResponses("helpful"), prompt="p", responses=RESPONSES)
    assert found == [pair("p", "one two three", "one"), pair("p", "two words", "one")]
    against = pairs(GradedResponses("harmless"), prompt="p", responses=RESPONSES)
    assert {(p.chosen, p.rejected) for p in against} == {
        ("one", "one two three"),
        ("two words", "one two three"),
        ("one", "two words"),
    }


def test_the_length_rules_are_each_other_s_opposite():
    short, long = (pairs(LengthRanked(prefer), prompt="p", responses=RESPONSES) for prefer in ("short", "long"))
    assert [(p.chosen, p.rejected) for p in short] == [
        ("one", "two words"),
        ("one", "one two three"),
        ("two words", "one two three"),
    ]
    assert [(p.rejected, p.chosen) for p in long] == [(p.chosen, p.rejected) for p in short]


def test_responses_of_equal_length_have_no_order_by_length():
    assert pairs(LengthRanked("short"), prompt="p", responses=[{"text": "a b"}, {"text": "c d"}]) == []


@pytest.mark.parametrize(
    ("form", "fields", "problem"),
    [
        (
            PairColumns(),
            {"prompt": "p", "chosen": "c"},
            r"field 'rejected' is missing \(there are: prompt, chosen\)",
        ),
        (PairColumns(), PLAIN | {"chosen": None}, "field 'chosen' is missing"),
        (PairColumns(), PLAIN | {"chosen": " \n"}, "the chosen response is empty"),
        (PairColumns(), PLAIN | {"rejected": ""}, "the rejected response is empty"),
        (PairColumns(), PLAIN | {"rejected": " c"}, "the two responses are identical"),
        (PairColumns(), PLAIN | {"prompt": " "}, "the prompt is empty"),
        (PairColumns(), PLAIN | {"prompt": 3}, "expected a list of messages, found int"),
        (PairColumns(), PLAIN | {"prompt": []}, "expected a list of messages, found an empty one"),
        (
            PairColumns(),
            PLAIN | {"prompt": [{"content": "Hi"}]},
            "a message's role is None, expected one of system, user",
        ),
        (
            PairColumns(),
            PLAIN | {"prompt": [{"role": "user", "content": ["Hi"]}]},
            "content has a part that is no text",
        ),
        (PairColumns(), PLAIN | {"prompt": [HI, assistant("Hello")]}, "does not end with a user turn"),
        (PairColumns(), PLAIN | {"chosen": [HI]}, "must end with an assistant turn"),
        (PairColumns(), PLAIN | {"chosen": 5}, "expected a list of messages, found int"),
        (PairColumns(), PLAIN | {"chosen": "cut \ud83d"}, "half a character"),
        (PairColumns(), PLAIN | {"prompt": "cut \ud83d"}, "half a character"),
        (PairColumns(dialogue=True), PLAIN | {"prompt": "Human: a\n\nAssistant: b"}, "end with a user turn"),
        (PairColumns(prompt=None), PLAIN, "expected a list of messages, found str"),
        (PairColumns(prompt=None), {"chosen": [HI], "rejected": [HI]}, "must end with an assistant turn"),
        (
            PairColumns(prompt=None),
            {"chosen": [HI, assistant("c")], "rejected": [HI | {"content": "Ho"}, assistant("r")]},
            "have different prompts",
        ),
        (
            Transcripts(),
            {"chosen": "\n\nHuman: a\n\nAssistant: c", "rejected": "\n\nHuman: b\n\nAssistant: r"},
            "have different prompts",
        ),
        (Transcripts(), {"chosen": "Human: a", "rejected": "Human: a"}, "has no assistant turn"),
        (Transcripts(), {"chosen": 1, "rejected": 2}, "transcript is no text but int"),
        (
            IndexedPair("b"),
            {"prompt": "p", "response_0": "x", "response_1": "y", "b": 2},
            "'b' is 2, expected 0 or 1",
        ),
        (IndexedPair("b"), {"prompt": "p", "response_0": "x", "response_1": 4, "b": 0}, "is no text but int"),
        (
            StrengthPair("s"),
            {"prompt": "p", "response_1": "x", "response_2": "y", "s": "2"},
            "'s' must be a finite number, not '2'",
        ),
        (
            GradedResponses("honest"),
            {"prompt": "p", "responses": RESPONSES},
            "'honest' must be a finite number, not None",
        ),
        (GradedResponses("helpful"), {"prompt": "p", "responses": "text"}, "'responses' is no list but str"),
        (GradedResponses("helpful"), {"prompt": "p", "responses": ["x", "y"]}, "a response has no 'text'"),
        (LengthRanked("short"), {"prompt": "p", "responses": [{"text": None}]}, "a response has no 'text'"),
    ],
)
def test_an_unusable_row_is_told_with_its_place(form, fields, problem):
    with pytest.raises(BadRow, match=rf"^file:7: .*{problem}"):
        pairs(form, **fields)


@needs_shared
def test_real_labelled_dialogues_have_as_many_human_turns_as_their_data_card_counts():
    differing = 0
    for row in LocalFiles(str(SHARED / "hh_official" / "harmlessness_train.jsonl")).rows():
        (found,) = PairColumns(dialogue=True).pairs(row)
        roles = [turn.role for turn in found.prompt]
        assert roles[0] == roles[-1] == "user"
        assert all(a != b for a, b in pairwise(roles))
        differing += roles.count("user") != row.fields["meta"]["turns"]
    assert differing <= 4  # the four dialogues in which someone speaks twice in a row


@needs_shared
def test_real_transcripts_give_the_pairs_that_they_were_made_of():
    for row in LocalFiles(str(SHARED / "hh_official" / "harmlessness_test.jsonl")).rows():
        (expected,) = PairColumns(dialogue=True).pairs(row)
        labels = {"user": "Human", "assistant": "Assistant"}
        before = "".join(f"\n\n{labels[turn.role]}: {turn.content}" for turn in expected.prompt)
        fields = {key: f"{before}\n\nAssistant: {row.fields[key]}" for key in ("chosen", "rejected")}
        (found,) = Transcripts().pairs(Row(row.origin, json.loads(json.dumps(fields))))
        assert found == expected
