import errno
import json
import os
import subprocess
import sys
import warnings

import pytest

from mva.data.preference import Message, prompt_id, user_prompt
from mva.evaluation.json_lines import DamagedLedger, JsonLines
from mva.evaluation.ledger import Generation, Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate

SCORED = ScoredCandidate(
    Candidate({"kind": 0.5, "brief": 1.25}),
    {"kind": 1.5, "brief": -2.0},
    {"kind": 0.1, "brief": 0.2},
    7,
    "test",
    1.5,
)
TURNS = (Message("user", "Hi"), Message("assistant", "Hello\nyou"), Message("user", "«Why?»\u2028"))
GENERATION = Generation(SCORED.candidate.id, TURNS, "Because\r\nof \u2028 it", {"kind": 0.25}, "test")


def test_what_was_written_is_read_back(tmp_path):
    Ledger(tmp_path).add_scored([SCORED], key="k")
    Ledger(tmp_path).add_generations([GENERATION], key="k")
    ledger = Ledger(tmp_path)
    assert ledger.scored("k") == {SCORED.candidate.id: SCORED}
    assert list(ledger.generations("k")) == [GENERATION]


def test_an_empty_folder_holds_nothing(tmp_path):
    assert Ledger(tmp_path).scored("k") == {}
    assert list(Ledger(tmp_path).generations("k")) == []


def test_lines_of_another_evaluation_are_ignored(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add_scored([SCORED], key="other")
    ledger.add_generations([GENERATION], key="other")
    assert ledger.scored("k") == {}
    assert list(ledger.generations("k")) == []


def test_lines_follow_the_documented_schema(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add_scored([SCORED], key="k")
    ledger.add_generations([GENERATION], key="k")
    assert json.loads((tmp_path / "candidates.jsonl").read_text()) == {
        "schema_version": 1,
        "id": SCORED.candidate.id,
        "split": "test",
        "coefficients": {"kind": 0.5, "brief": 1.25},
        "composition": "linear",
        "scores": {"kind": 1.5, "brief": -2.0},
        "standard_errors": {"kind": 0.1, "brief": 0.2},
        "n_prompts": 7,
        "seconds": 1.5,
        "key": "k",
    }
    assert json.loads((tmp_path / "generations.jsonl").read_bytes()) == {
        "schema_version": 1,
        "id": SCORED.candidate.id,
        "split": "test",
        "prompt_id": prompt_id(TURNS),
        "prompt": [{"role": turn.role, "content": turn.content} for turn in TURNS],
        "response": GENERATION.response,
        "rewards": {"kind": 0.25},
        "key": "k",
    }


@pytest.mark.parametrize("torn", [b'{"n": 3, "te', b'{"n": 3}', b"\0\0\0\n", b"\0" * 200_000, b'{"n": "\xc3'])
def test_reading_leaves_an_unfinished_last_line_alone_and_only_appending_cuts_it_off(tmp_path, torn):
    file = JsonLines(tmp_path / "lines.jsonl")
    file.append([{"n": 1}, {"n": 2}])
    with file.path.open("ab") as stream:
        stream.write(torn)
    before = file.path.read_bytes()
    with pytest.warns(UserWarning, match=r"lines.jsonl:3 is unfinished"):
        assert list(file.read()) == [{"n": 1}, {"n": 2}]
    assert file.path.read_bytes() == before
    following = JsonLines(file.path)
    following.append([{"n": 4}])
    assert list(following.read()) == [{"n": 1}, {"n": 2}, {"n": 4}]


def test_a_reader_beside_a_running_writer_sees_whole_lines_and_loses_none(tmp_path):
    file, many = JsonLines(tmp_path / "lines.jsonl"), 400
    code = (
        "import sys; from pathlib import Path; from mva.evaluation.json_lines import JsonLines\n"
        f"file = JsonLines(Path(sys.argv[1]))\nfor n in range({many}): file.append([{{'n': n, 'text': 'x' * 9000}}])"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(file.path)]) as writer:
        while writer.poll() is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                numbers = [line["n"] for line in file.read()]
            assert numbers == list(range(len(numbers)))
    assert writer.returncode == 0
    assert [line["n"] for line in file.read()] == list(range(many))


def test_a_failed_append_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = JsonLines(tmp_path / "lines.jsonl")
    file.append([{"n": 1}])

    def fail(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match=r"No space left on device: .*lines.jsonl"):
            file.append([{"n": 2}, {"n": 3}])
    file.append([{"n": 4}])
    assert list(file.read()) == [{"n": 1}, {"n": 4}]


DAMAGE = {
    '{"n": ': "is not JSON",
    "[1, 2]": "of another shape",
    "": "is not JSON",
    '{"n": NaN}': "holds NaN",
    '{"n": 1e999}': "n is inf, not a finite number",
    '{"n": 1, "n": 2}': "has the field 'n' twice",
    '{"n": 2}, {"n": 3}': "is not JSON",
    '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}": "nested too deeply",
    '{"n": ' + "9" * 5000 + "}": "is not JSON",
    '{"n": "\\ud800"}': "is not JSON",
}


@pytest.mark.parametrize("line", DAMAGE, ids=lambda line: line[:12])
def test_damage_in_the_middle_is_refused_with_its_place(tmp_path, line):
    path = tmp_path / "lines.jsonl"
    path.write_text(f'{{"n": 1}}\n{line}\n{{"n": 3}}\n')
    with pytest.raises(DamagedLedger, match=rf"lines.jsonl:2 .*{DAMAGE[line]}.*: delete that line"):
        list(JsonLines(path).read())


def test_two_lines_that_are_one_list_of_objects_are_not_taken_for_lines(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"n": 1},{"n": 2}\n{"n": 3}\n')
    with pytest.raises(DamagedLedger, match=r"lines.jsonl:1 is not JSON"):
        list(JsonLines(path).read())


def test_nothing_is_written_of_records_that_json_has_no_words_for(tmp_path):
    file = JsonLines(tmp_path / "lines.jsonl")
    file.append([{"n": 1}])
    with pytest.raises(ValueError, match="not JSON compliant"):
        file.append([{"n": 2}, {"n": float("nan")}])
    assert list(file.read()) == [{"n": 1}]


def test_prompts_are_named_as_in_the_data(tmp_path):
    Ledger(tmp_path).add_generations([Generation("c", user_prompt("Hi"), "Yo", {"kind": 0.0})], key="k")
    assert json.loads((tmp_path / "generations.jsonl").read_text())["prompt_id"] == prompt_id(user_prompt("Hi"))
