"""`mva-serve` as a command: what it refuses, what it says, and how it ends."""

import http.client
import importlib
import json
import re
import shlex
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from mva.apps import serve

WORDS = (Path(__file__).parents[2] / "docs" / "serve.md").read_text() + serve.__doc__
COMMANDS = re.findall(r"^    mva-serve (.+?)(?: {2,}.*)?$", WORDS, re.MULTILINE)
HIDDEN = ("mva.apps.serve", "mva.serving.connections", "mva.serving.server")  # imported once more, without the extra


@pytest.fixture(scope="module")
def folder(make_run_with_vectors, tmp_path_factory):
    """A run named as a multirun's jobs are, with what Hydra takes for a sweep and for a quote."""
    return make_run_with_vectors(tmp_path_factory.mktemp("it's") / "penalty.strength=1,seed=0")


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Start the app with some words and no server behind it; returns its exit status and all that it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)

    def start(*words):
        standard = ["model=tiny_llama", "serve.port=0", "serve.open=false", "hydra.run.dir=hydra"]
        monkeypatch.setattr(sys, "argv", ["mva-serve", *map(str, words[:1]), *standard, *words[1:]])
        try:
            serve.main()
            status = 0
        except SystemExit as ended:
            status = ended.code
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return start


def refused(status_and_text, *sentences):
    status, text = status_and_text
    assert status == 2
    assert "Traceback" not in text
    for sentence in sentences:
        assert sentence in text


def test_a_folder_alone_is_the_run(said, folder):
    status, text = said(folder)
    assert status == 0
    assert re.search(rf"The dial of {re.escape(str(folder))}: http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", text)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_quoted_command_composes(said, command):
    status, text = said(*shlex.split(command), "--cfg", "job")
    assert status == 0
    assert "\nrun: FOLDER\n" in text


def test_no_run_is_refused_with_what_to_type(said):
    refused(said(), "Which run? Give its folder: mva-serve outputs/")


def test_a_folder_that_is_no_run_is_refused(said, tmp_path):
    refused(said("outputs/typo"), "outputs/typo is no run folder: it has no config.yaml.")
    refused(said(tmp_path), f"{tmp_path} is no run folder: it has no config.yaml.")


def test_a_run_without_vectors_is_refused(said, make_run_folder, folder, tmp_path):
    untrained = make_run_folder(tmp_path / "untrained", 2)
    (untrained / "config.yaml").write_text((folder / "config.yaml").read_text())
    refused(said(untrained), "has no vectors in adapters/: the run has not trained any yet.")


def test_a_port_that_is_taken_is_refused_before_a_model_is_loaded(said, folder, monkeypatch):
    monkeypatch.setattr(serve, "_speaker", lambda *_: pytest.fail("the model was loaded first"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(said(folder, f"serve.port={port}"), f"127.0.0.1:{port} can't be listened at", "choose another")


def test_an_address_that_is_not_this_machines_is_refused(said, folder):
    refused(said(folder, "serve.host=192.0.2.1"), "192.0.2.1:0 can't be listened at", "choose another serve.host")


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_refused(said, folder, port):
    refused(
        said(folder, f"serve.port={port}"),
        f"serve.port is {port}: choose a whole number of at least 0 and at most 65535",
    )


def test_a_run_of_another_model_is_refused_with_the_words_that_name_it(said, folder):
    refused(
        said(folder, "model=tiny_gpt2"),
        "The run was made with another model than tiny-gpt2 in float32: name it, model=... model.dtype=float32",
        "(its source was TinyRandom: architecture llama, hidden_size 64, layers 2, seed 0).",
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("model.system_prompt=Be kind.", 'model.system_prompt is "Be kind.", and was null in the run'),
        ("model.system_as_user=true", "model.system_as_user is true, and was false in the run"),
        ("+model.template_kwargs.today=Monday", 'model.template_kwargs is {"today": "Monday"}, and was {} in the run'),
    ],
)
def test_prompts_that_the_run_rendered_otherwise_are_refused(said, folder, word, sentence):
    refused(said(folder, word), sentence)


def test_candidates_that_are_not_linear_are_refused(said, make_run_with_vectors, tmp_path):
    ties = make_run_with_vectors(tmp_path / "ties", "composition=ties")
    refused(said(ties), "The run's candidates are composed by Ties: the dial serves linear combinations alone")


@pytest.mark.parametrize("word", ["candidate=abc", "coefficients.helpful=1"])
def test_keys_that_the_dial_does_not_read_are_refused(said, folder, word):
    refused(said(folder, word), f"{word}: mva-serve does not read '{re.split('[.=]', word)[0]}'")


def test_a_pattern_of_hosts_is_refused(said, folder):
    refused(
        said(folder, "serve.hosts=['*.lan']"), "serve.hosts is ['*.lan']: choose a list (text each), none a pattern"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_an_address_of_this_machine_alone_needs_no_warning(said, folder, host):
    status, text = said(folder, f"serve.host={host}")
    assert status == 0
    assert "can use the model" not in text


def test_any_other_address_says_what_that_means(said, folder):
    status, text = said(folder, "serve.host=0.0.0.0", "serve.hosts=[box.lan]")
    assert status == 0
    assert "serve.host=0.0.0.0 is not this machine alone: whoever can reach port" in text
    assert "no password and no encryption" in text
    assert f"Browsers elsewhere call it by {socket.gethostname()} or box.lan" in text


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "anyio"])
def test_without_its_extra_the_app_says_how_to_get_it(missing, monkeypatch, capsys):
    for module in [name for name in sys.modules if name in HIDDEN or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("mva.apps.serve")
    assert ended.value.code == 2
    assert "needs the extra 'serve': pip install 'mva[serve]'" in capsys.readouterr().err


def test_ctrl_c_ends_it_in_the_middle_of_an_answer(serve_run, folder):
    with serve_run(folder, "model=tiny_llama", "serve.max_new_tokens=900") as (process, url):
        body = json.dumps({"prompt": "Hi", "coefficients": {"helpful": 1, "harmless": 1}})
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
            connection.request("POST", "/api/answer", body, {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                assert json.loads(response.readline())["tokens"] == 1
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0
        assert process.stdout.read() == "Stopped.\n"
