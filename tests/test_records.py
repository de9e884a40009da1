"""Records are whole or as they were."""

import json
import math
import os

import pytest

from mva.records import whole_folder, write_json


def test_what_was_written_is_read(tmp_path):
    record = {"name": "größer", "scores": [1.5, None], "deep": {"n": 3}}
    write_json(tmp_path / "a.json", record)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == record
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_json_has_no_words_for_is_refused_and_nothing_is_lost(tmp_path, number):
    write_json(tmp_path / "a.json", {"n": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"n": number})
    assert json.loads((tmp_path / "a.json").read_text()) == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_keeps_the_record_before_it(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", {"n": 1})

    def fail(_descriptor):
        raise OSError("disk full, on purpose")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="on purpose"):
        write_json(tmp_path / "a.json", {"n": 2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"n": 1}


def fill(folder, text):
    with whole_folder(folder) as draft:
        (draft / "deep").mkdir()
        (draft / "deep" / "a.txt").write_text(text)


def test_a_folder_takes_the_place_of_the_one_before_it(tmp_path):
    fill(tmp_path / "home" / "x", "one")
    (tmp_path / "home" / "x" / "left over").touch()
    fill(tmp_path / "home" / "x", "two")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["x"]
    assert [path.name for path in (tmp_path / "home" / "x").iterdir()] == ["deep"]
    assert (tmp_path / "home" / "x" / "deep" / "a.txt").read_text() == "two"


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_whose_writer_fails_is_as_it_was(tmp_path, there, monkeypatch):
    if there:
        fill(tmp_path / "x", "one")
    with pytest.raises(TypeError):
        fill(tmp_path / "x", None)

    def fail(_descriptor):
        raise OSError("disk full, on purpose")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="on purpose"):
        fill(tmp_path / "x", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["x"] * there
    assert not there or (tmp_path / "x" / "deep" / "a.txt").read_text() == "one"
