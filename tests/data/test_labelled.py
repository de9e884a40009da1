"""Files of labelled pairs: forms, names, folders, refusals."""

import gzip
import json

import pytest

from mva.data.checks import EmptyData
from mva.data.formats import IndexedPair
from mva.data.labelled import LabelledPairs, check_unseen, read_labelled
from mva.data.preference import Message, PreferencePair, ValueData, user_prompt
from mva.data.sources.base import BadRow, DataUnavailable

PAIR = {"prompt": "How are you?", "chosen": "Fine, thank you.", "rejected": "No."}


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return str(path)


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (PAIR, user_prompt("How are you?")),
        (
            {**PAIR, "prompt": "Human: Hi\n\nAssistant: Hello.\n\nHuman: How are you?"},
            (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "How are you?")),
        ),
        ({**PAIR, "prompt": "Write a play.\n\nHuman: (enters)"}, user_prompt("Write a play.\n\nHuman: (enters)")),
        (
            {
                name: [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": PAIR[name]}]
                for name in ("chosen", "rejected")
            },
            user_prompt("How are you?"),
        ),
        (
            {name: f"\n\nHuman: How are you?\n\nAssistant: {PAIR[name]}" for name in ("chosen", "rejected")},
            user_prompt("How are you?"),
        ),
    ],
    ids=["columns", "labelled", "a label in the text", "dialogues", "transcripts"],
)
def test_rows_are_read_by_their_columns(tmp_path, row, prompt):
    ((source,), skipped) = read_labelled([write(tmp_path / "a.jsonl", row)])
    (pair,) = source.pairs
    assert (pair.prompt, pair.chosen, pair.rejected) == (prompt, PAIR["chosen"], PAIR["rejected"])
    assert skipped == []


def test_another_form_can_be_named(tmp_path):
    row = {"prompt": "Hi", "response_0": "No.", "response_1": "Hello.", "better": 1}
    (source,), _ = read_labelled([write(tmp_path / "a.jsonl", row)], form=IndexedPair("better"))
    assert (source.pairs[0].chosen, source.pairs[0].rejected) == ("Hello.", "No.")


def test_names_are_the_shortest_endings_that_tell_the_files_apart(tmp_path):
    paths = ["hh/harmless_test.jsonl", "pku/harmless_test.jsonl.gz", "bar.jsonl"]
    sources, _ = read_labelled([write(tmp_path / path, PAIR) for path in paths])
    assert [source.name for source in sources] == ["hh/harmless_test", "pku/harmless_test", "bar"]


def test_a_folder_stands_for_its_files_and_a_file_counts_once(tmp_path):
    first, second = write(tmp_path / "set/b.jsonl", PAIR), write(tmp_path / "set/a.jsonl", PAIR)
    (tmp_path / "set" / "SOURCE.md").write_text("where from")
    sources, _ = read_labelled([first, str(tmp_path / "set"), second])
    assert [source.name for source in sources] == ["b", "a"]


def test_lists_by_value_speak_of_that_value(tmp_path):
    path = write(tmp_path / "a.jsonl", PAIR)
    sources, _ = read_labelled({"kind": [path], "brief": [path]})
    assert [(source.name, source.value) for source in sources] == [("a", "kind"), ("a", "brief")]
    assert [source.value for source in read_labelled([path])[0]] == [None]


def test_a_sample_does_not_depend_on_the_order_of_the_rows(tmp_path):
    rows = [{**PAIR, "prompt": f"Question {k}?"} for k in range(40)]
    (forward,), _ = read_labelled([write(tmp_path / "a.jsonl", *rows)], limit=10)
    (backward,), _ = read_labelled([write(tmp_path / "b.jsonl", *rows[::-1])], limit=10)
    assert {pair.prompt for pair in forward.pairs} == {pair.prompt for pair in backward.pairs}
    assert len(forward.pairs) == 10


def test_no_files_are_no_sources():
    assert read_labelled([]) == ([], [])


def test_what_can_not_be_read_is_refused(tmp_path):
    with pytest.raises(DataUnavailable, match="There is no file"):
        read_labelled([str(tmp_path / "missing.jsonl")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataUnavailable, match=r"has no file that ends in .jsonl"):
        read_labelled([str(tmp_path / "empty")])
    with pytest.raises(EmptyData, match="has no usable pair to check rewards on"):
        read_labelled([write(tmp_path / "none.jsonl")])


def test_a_bad_row_stops_or_is_skipped(tmp_path):
    path = write(tmp_path / "a.jsonl", PAIR, {"prompt": "Hi", "chosen": "Hello."})
    with pytest.raises(BadRow, match=r"a\.jsonl:2: "):
        read_labelled([path])
    (source,), (skipped,) = read_labelled([path], on_bad_row="skip")
    assert len(source.pairs) == 1
    assert skipped.origin.endswith("a.jsonl:2")


def test_a_source_of_nothing_but_trained_prompts_is_refused():
    pairs = tuple(PreferencePair(user_prompt(f"{k}"), "yes", "no") for k in range(3))
    source = LabelledPairs("own train", pairs)
    check_unseen([source], {"kind": ValueData("kind", pairs[:2], (), ())})
    assert source.unseen_by(ValueData("kind", pairs[:2], (), ())) == [False, False, True]
    with pytest.raises(EmptyData, match="All 3 pairs of own train have prompts that 'kind' is trained on"):
        check_unseen([source], {"kind": ValueData("kind", pairs, (), ())})
