"""Settings that make no sense: each is refused in one sentence that names its key, before a model is loaded."""

import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser

from mva.apps import assemble, run
from mva.apps.command import app, conf_folder
from mva.apps.errors import sentence, user_errors
from mva.apps.run_folder import identity

TABLE = runpy.run_path(str(Path(__file__).with_name("bad_settings.py")))
NEEDS, KEYS, WRONG, TAKEN, WRITTEN = (TABLE[name] for name in ("NEEDS", "KEYS", "WRONG", "TAKEN", "WRITTEN"))
NESTED = "[" * 300 + "]" * 300
LONG = [
    (["seed=" + "1" * 5000], ["seed", "digits"]),
    ([f"seed={'1' * 400}"], ["seed is 111", "at most"]),
    ([f"seed={NESTED}"], ["seed", "nested"]),
    (["value.names=[" + "a" * 5000 + "]"], ["value.names", "the data offers"]),
]


def needed(key):
    return next(
        (words.split(" ") for prefix, words in NEEDS.items() if key == prefix or key.startswith(f"{prefix}.")), []
    )


def generated():
    for kind, keys in KEYS.items():
        for key in keys:
            for setting in WRONG[kind]:
                if (key, setting) not in TAKEN:
                    yield [*needed(key), f"{key}={setting}"], [key]


def written():
    for line in WRITTEN.strip().splitlines():
        words, _, phrases = line.partition("|")
        yield words.strip().split(" "), [phrase.strip() for phrase in phrases.split(", ")]


GENERATED = list(generated())
CASES = [*GENERATED, *written(), *LONG]


def test_the_table_is_as_long_as_promised():
    assert len({tuple(words) for words, _ in CASES}) >= 400


@cache
def composed(*words):
    """Compose these words, once for all cases that begin with them."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=list(words))


def assembled(words, *, one_by_one):
    """Compose and assemble; `one_by_one` takes the last word as Hydra does, on a copy of what the others compose."""
    if one_by_one:
        config = composed(*words[:-1]).copy()
        ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(words[-1:]), config)
    else:
        config = composed(*words)
    return assemble.experiment(config), assemble.build(config.tracking)


def check_refusal(words, phrases, *, one_by_one):
    with pytest.raises(user_errors()) as refused:
        assembled(words, one_by_one=one_by_one)
    message = sentence(refused.value, words, conf_folder())
    assert "\n" not in message
    assert len(message) < 700
    for phrase in phrases:
        assert phrase in message


@pytest.mark.parametrize(("words", "phrases"), GENERATED, ids=lambda part: " ".join(part)[:70])
def test_a_setting_of_another_kind_is_refused_in_one_sentence_that_names_the_key(words, phrases):
    check_refusal(words, phrases, one_by_one=True)


@pytest.mark.parametrize(("words", "phrases"), [*written(), *LONG], ids=lambda part: " ".join(part)[:70])
def test_nonsense_is_refused_in_one_sentence_that_says_where(words, phrases):
    check_refusal(words, phrases, one_by_one=False)


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Run an app in an empty folder; returns its exit status and what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MVA_DEBUG", raising=False)

    def start_app(task, *words):
        monkeypatch.setattr(sys, "argv", ["mva", *words])
        with pytest.raises(SystemExit) as ended:
            task()
        captured = capsys.readouterr()
        return ended.value.code, captured.out + captured.err

    return start_app


def test_a_users_mistake_exits_with_2_and_one_line(start):
    assert start(run.main, "seed=-1") == (2, "BadSetting: seed is -1: choose a whole number of at least 0.\n")


def test_the_traceback_of_a_users_mistake_is_shown_on_demand(start, monkeypatch):
    code, message = start(run.main, "seed=-1", "debug.traceback=true")
    assert code == 2
    assert "Traceback" in message
    monkeypatch.setenv("MVA_DEBUG", "1")
    code, message = start(run.main, "seed=[")
    assert code == 2
    assert "Traceback" in message


def test_an_experiments_file_may_ask_for_the_traceback(start):
    folder = Path("more/experiment")
    folder.mkdir(parents=True)
    (folder / "traced.yaml").write_text("# @package _global_\nseed: -1\ndebug:\n  traceback: true\n")
    code, message = start(run.main, "--config-dir=more", "experiment=traced")
    assert code == 2
    assert "Traceback" in message
    assert "Traceback" not in start(run.main, "seed=-1")[1]


@pytest.mark.parametrize(
    ("content", "phrases"),
    [
        (b"a: [1,\nb: }", ["broken.yaml:2 is no YAML", "mend that line"]),
        (b"\xff\xfe\x00", ["UTF-8"]),
        (b"# @package _global_\nvalue:\n  names: " + b"[" * 3000 + b"]" * 3000, ["nested"]),
        (b"# @package _global_\nvalue: 5\n", ["value is 5"]),
        (b"# @package _global_\nvalue:\n  names: {a: 1}\n", ["In 'experiment/broken'", "ListConfig", "mend that file"]),
        (b"# @package _global_\nmodel:\n  template_kwargs: {1: 2}\n  device: [cpu]\n", ["model.device is ['cpu']"]),
    ],
    ids=["broken", "not text", "deep", "a number for a group", "a mapping for a list", "a list for a word"],
)
def test_a_file_that_makes_no_sense_is_named_or_its_key(start, content, phrases):
    folder = Path("more/experiment")
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_bytes(content)
    code, message = start(run.main, "--config-dir=more", "experiment=broken")
    assert code == 2
    assert message.count("\n") == 1
    for phrase in phrases:
        assert phrase in message


def test_a_place_that_cannot_be_written_is_named(start):
    Path("file").write_text("")
    code, message = start(run.main, "hydra.run.dir=file/below")
    assert code == 2
    assert "file" in message
    assert "choose another place" in message
    assert "Traceback" not in message


def test_a_mistake_of_the_program_shows_its_traceback_and_asks_for_a_report(start):
    def task(config):
        raise KeyError("lost")

    code, message = start(app(task))
    assert code == 1
    assert "Traceback" in message
    assert "please report it" in message


def test_a_plug_in_that_checks_nothing_is_checked_by_its_annotations(tmp_path, monkeypatch):
    (tmp_path / "foreign_search.py").write_text(
        dedent("""
        from dataclasses import dataclass

        from mva.search.base import fixed


        @dataclass(frozen=True)
        class Halves:
            times: int = 1

            def start(self, space, *, seed):
                return fixed(space, [space.candidate([0.5] * len(space.values))] * self.times, include_corners=True)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MVA_PLUGINS", "foreign_search")
    words = ["search=one_hot", "search._target_=foreign_search.Halves"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert assemble.experiment(compose("config", overrides=words)).search.times == 1
        for setting in ("true", "many", "1.5"):
            with pytest.raises(ValueError, match=r"^search\.times is .*: choose a whole number"):
                assemble.experiment(compose("config", overrides=[*words, f"+search.times={setting}"]))


def test_a_traceback_or_a_dropped_key_makes_no_other_run():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plain = compose("config", overrides=["paths.cache=cache"])
        traced = compose("config", overrides=["paths.cache=cache", "debug.traceback=true"])
        earlier = compose("config", overrides=["paths.cache=cache", "+evaluation.score_scaling=none"])
        spoken_of = compose("config", overrides=["paths.cache=cache", "evaluation.smallest_difference=0.2"])
        attended = compose("config", overrides=["paths.cache=cache", "model.attention=eager"])
        checked = compose("config", overrides=["paths.cache=cache", "evaluation.reward_check=[a.jsonl]"])
        alone = compose("config", overrides=["paths.cache=cache", "reward.members=1"])
    pinned = "b29ae43274253259e27e18e6e8ce884af7050ea4eb9bc71fc78f0ed98c71cbdd"
    assert (
        identity(plain) == identity(traced) == identity(earlier) == identity(spoken_of) == identity(attended) == pinned
    )
    assert identity(checked) == identity(alone) == pinned


def test_pessimism_makes_another_run_and_so_does_the_ensembles_size_then():
    def of(*words):
        return identity(compose("config", overrides=["paths.cache=cache", *words]))

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert of("evaluation.pessimism=0.0") == of()
        identities = [of(), of("evaluation.pessimism=1"), of("evaluation.pessimism=1", "reward.members=4")]
    assert len(set(identities)) == 3


def test_settings_of_pairs_make_another_run_only_where_pairs_score():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):

        def named(*words):
            return identity(compose("config", overrides=["paths.cache=cache", *words]))

        assert named("evaluation.n_pairs=7", "evaluation.pair_beta=0.3") == named()
        by_pairs = ["evaluation.by=pairs", "evaluation.by=both", "evaluation.by=pairs evaluation.n_pairs=7"]
        names = {named(*words.split()) for words in by_pairs}
        assert len(names | {named()}) == 4


def test_the_process_exits_with_2():
    done = subprocess.run(
        [sys.executable, "-m", "mva.apps.run", "evaluation.n_test_prompts=0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "BadSetting: evaluation.n_test_prompts is 0: choose a whole number of at least 1.\n"
