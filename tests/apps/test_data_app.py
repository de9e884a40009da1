import json
import os
import re
import shlex
from pathlib import Path

import pytest
import torch

from mva.apps.data import main
from mva.models.sources.tiny_random import TinyRandom, byte_tokenizer

SHARED = Path(os.environ.get("MVA_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no folder MVA_SHARED_DATA")
GOOD = {"prompt": "p", "chosen": "a good one", "rejected": "bad"}


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")


def written(path, *rows):
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(path)


def cells(output):
    """Read the tables' cells back, one list a printed line."""
    lines = [re.split("[│┃]", line)[1:-1] for line in output.splitlines()]
    return [[cell.strip() for cell in line] for line in lines if line]


def test_a_clean_file_passes(tmp_path, capsys):
    path = written(tmp_path / "a.jsonl", GOOD, GOOD | {"prompt": "q", "chosen": "x", "rejected": "y y"})
    assert main([path]) == 0
    output = capsys.readouterr().out
    assert ["a.jsonl", "2", "0", "50%"] in cells(output)
    assert "No problems found." in output


def test_every_problem_is_told_with_file_and_line(tmp_path, capsys):
    path = written(
        tmp_path / "a.jsonl",
        GOOD,
        "no json",
        GOOD | {"rejected": "a good one"},
        {"prompt": "p", "chosen": "c"},
        GOOD,
        GOOD | {"chosen": "bad", "rejected": "a good one"},
    )
    assert main([path]) == 1
    found = cells(capsys.readouterr().out)
    assert ["a.jsonl", "3", "7", "67%"] in found
    for problem, line in [("not JSON", 2), ("identical", 3), ("'rejected' is missing", 4), ("duplicate", 5)]:
        assert any(problem in row[1] and row[2:] == ["1", f"{path}:{line}"] for row in found if len(row) == 4), problem
    start = next(number for number, row in enumerate(found) if "contradiction" in row[1])
    assert [row[-1] for row in found[start : start + 3]] == [f"{path}:{line}" for line in (1, 5, 6)]


def test_prompts_that_two_files_share_are_a_problem(tmp_path, capsys):
    one = written(tmp_path / "train.jsonl", GOOD, GOOD | {"prompt": "q"})
    two = written(tmp_path / "test.jsonl", GOOD | {"rejected": "worse"})
    assert main([one, two]) == 1
    output = capsys.readouterr().out
    assert "prompt that stands in two files" in output
    assert f"{one}:1" in output
    assert f"{two}:1" in output
    assert f"{one}:2" not in output


def test_a_file_without_a_usable_pair_is_a_problem(tmp_path, capsys):
    assert main([written(tmp_path / "a.jsonl")]) == 1
    assert "no usable pair in the file" in capsys.readouterr().out


def test_a_missing_file_is_one_sentence_on_stderr(tmp_path, capsys):
    assert main([str(tmp_path / "gone.jsonl")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"There is no file {tmp_path / 'gone.jsonl'}: check the paths of the data.\n"


def test_columns_of_other_names_are_read(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("question,good,bad\np,x y,z\n")
    assert main([str(path), "--prompt", "question", "--chosen", "good", "--rejected", "bad"]) == 0
    assert ["a.csv", "1", "0", "100%"] in cells(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("form", "row"),
    [
        (
            "transcripts",
            {"chosen": "\n\nHuman: p\n\nAssistant: x", "rejected": "\n\nHuman: p\n\nAssistant: y"},
        ),
        (
            "dialogues",
            {
                key: [{"role": "user", "content": "p"}, {"role": "assistant", "content": key}]
                for key in ("chosen", "rejected")
            },
        ),
    ],
)
def test_whole_dialogues_are_read_in_their_form(tmp_path, form, row):
    path = written(tmp_path / "a.jsonl", row)
    assert main([path, "--form", form]) == 0
    assert main([path]) == 1


def test_labelled_prompts_must_end_with_the_human(tmp_path):
    path = written(tmp_path / "a.jsonl", GOOD | {"prompt": "Human: a\n\nAssistant: b"})
    assert main([path]) == 0
    assert main([path, "--labelled"]) == 1


def test_the_commands_of_the_help_are_understood(tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    commands = re.findall(r"^    mva-data (.*?)   ", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(commands) == 3
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main(shlex.split(command)) == 2
        assert "There is no file" in capsys.readouterr().err


def test_no_file_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "FILE" in capsys.readouterr().err


@needs_shared
def test_real_data_has_no_problems(capsys):
    assert main([str(SHARED / "hh" / f"helpfulness_{part}.jsonl") for part in ("train", "test")]) == 0
    assert ["helpfulness_train.jsonl", "5000", "0", "63%"] in cells(capsys.readouterr().out)


CLEAN = {"prompt": "How do I boil an egg?", "chosen": "Seven minutes in boiling water.", "rejected": "No idea."}


def test_texts_that_look_like_control_tokens_are_counted_without_a_model(tmp_path, capsys):
    rows = [{**CLEAN, "prompt": "Hi<|im_end|>"}, {**CLEAN, "chosen": "So </s>"}, CLEAN]
    assert main([written(tmp_path / "pairs.jsonl", *rows)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "looks like a control token" in said
    assert "pairs.jsonl:1" in said
    assert "pairs.jsonl:2" in said


def test_clean_data_has_no_problem_with_a_model_either(tmp_path, capsys):
    assert main([written(tmp_path / "pairs.jsonl", CLEAN), "model=tiny_llama"]) == 0
    assert "No problems found" in capsys.readouterr().out


def test_with_a_model_its_own_tokens_and_limits_are_checked(tmp_path, capsys):
    rows = [
        {**CLEAN, "prompt": "x" * 100},
        {**CLEAN, "chosen": "the same beginning, and good", "rejected": "the same beginning, and bad"},
        {**CLEAN, "prompt": "<|pad|> now"},
        CLEAN,
    ]
    words = ["--model", "tiny_llama", "--max-prompt", "60", "--max-response", "20"]
    assert main([written(tmp_path / "pairs.jsonl", *rows), *words]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "identical" in said
    assert "control token" in said
    assert "cut to 60" in said


def test_a_folder_is_a_model_and_dialogues_that_its_template_refuses_are_counted(tmp_path, capsys):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    model, _ = TinyRandom("llama").load(torch.float32)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    path = written(tmp_path / "pairs.jsonl", {**CLEAN, "prompt": prompt}, CLEAN)
    assert main([path, f"model={tmp_path / 'model'}"]) == 1
    assert "no system role" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("model", ["model=nope", "model=no/such/folder"])
def test_a_model_that_is_none_is_said_in_one_sentence(tmp_path, capsys, monkeypatch, model):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main([written(tmp_path / "pairs.jsonl", CLEAN), model]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert model.removeprefix("model=") in captured.err
