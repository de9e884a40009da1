"""`mva-cache`: what it lists, what it removes, and what it never touches."""

import os
import re
import shlex
import subprocess
import sys
import time

import pytest
import torch

from mva.apps.cache import main
from mva.models.adapter_files import save_adapter
from mva.models.cache_contents import contents
from mva.models.store import Store
from mva.models.value_vector import LowRank, ValueVector

DAY = 86_400
AGES = {"a" * 40: 40, "b" * 40: 20, "c" * 40: 1}  # days by key
HOLDER = """
import sys, time
from mva.models.store import Store
with Store(sys.argv[1]).making(sys.argv[2], sys.argv[3], what="the vector"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def age(path, days):
    for place in (*path.rglob("*"), path):
        os.utime(place, (time.time() - DAY * days,) * 2)


@pytest.fixture
def store(tmp_path):
    """Three vectors of 1000 bytes, which were last used at different times."""
    store = Store(tmp_path / "cache")
    for key, days in AGES.items():
        with store.making("vectors", key, what=f"the vector '{key[0]}'"):
            path = store.put("vectors", key, lambda folder: (folder / "weights").write_bytes(bytes(1000)))
        age(path, days)
    return store


def keys(store):
    return "".join(sorted(content.key[0] for content in contents(store)))


def run(store, capsys, *words):
    status = main(["--cache", str(store.root), *words])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def rows(text):
    return [
        [cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in text.splitlines() if re.search("[│┃]", line)
    ]


def test_the_list_tells_kind_for_whom_size_and_last_use(store, capsys):
    status, text = run(store, capsys)
    assert status == 0
    listed = rows(text)[1:]
    assert [row[:2] for row in listed] == [["vectors", f"vector '{letter}'"] for letter in "abc"]
    assert [row[3:] for row in listed] == [
        ["40 days ago", "a" * 12],
        ["20 days ago", "b" * 12],
        ["24 hours ago", "c" * 12],
    ]
    assert all(re.fullmatch(r"1\.\d+ kB", row[2]) for row in listed)
    assert re.search(r"holds 3\.\d+ kB", text)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--older-than", "30d"], "bc"),
        (["--older-than", "2w"], "c"),
        (["--older-than", "1h"], ""),
        (["--shrink-to", "2.5kB"], "bc"),
        (["--shrink-to", "0"], ""),
        (["--shrink-to", "1GB"], "abc"),
        (["--older-than", "30d", "--shrink-to", "0"], "bc"),
        (["--kind", "models"], "abc"),
        (["--kind", "vectors"], ""),
    ],
)
def test_what_is_chosen_is_removed_with_its_note_and_nothing_without_being_asked(store, capsys, words, left):
    run(store, capsys, *words)
    assert keys(store) == "abc"
    status, text = run(store, capsys, *words, "--remove")
    assert status == 0
    assert keys(store) == left
    assert f"Removed {3 - len(left)}," in text
    assert {path.stem[-1] for path in (store.root / "notes").iterdir()} == set(left)
    assert not list((store.root / "vectors").glob(".*"))


@pytest.fixture
def holder(store):
    """A process that makes an entry."""
    started = []

    def start(kind, key):
        command = [sys.executable, "-c", HOLDER, str(store.root), kind, key]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_living_process_makes_stays_and_goes_once_it_is_dead(store, capsys, holder):
    process = holder("vectors", "a" * 40)
    _, text = run(store, capsys, "--shrink-to", "0", "--remove")
    assert keys(store) == "a"
    assert "1 stay: a process makes them" in text
    process.kill()
    process.wait()
    run(store, capsys, "--shrink-to", "0", "--remove")
    assert keys(store) == ""


@pytest.mark.parametrize("maker", ["vectors", "unfinished"])
def test_checkpoints_and_snapshots_of_a_training_under_way_stay(store, capsys, holder, maker):
    key = "d" * 40
    kind = {"vectors": "snapshots", "unfinished": "unfinished"}[maker]
    (store.root / kind / key).mkdir(parents=True)
    (store.root / kind / key / "last.ckpt").write_bytes(bytes(10))
    age(store.root / kind / key, 2)
    holder(maker, key)
    run(store, capsys, "--kind", kind, "--remove")
    assert "d" in keys(store)


def test_what_was_just_used_stays(store, capsys):
    store.get("vectors", "a" * 40)
    run(store, capsys, "--shrink-to", "0", "--remove")
    assert keys(store) == "a"


def test_files_of_others_are_neither_listed_nor_removed(store, capsys, tmp_path):
    others = [
        store.root / "vectors" / "thesis",
        store.root / "photos" / ("e" * 40),
        store.root / "wheels" / "notes.txt",
    ]
    for path in others:
        path.mkdir(parents=True)
        (path / "file").touch()
        age(path, 99)
    (tmp_path / "elsewhere").mkdir()
    (store.root / "vectors" / ("f" * 40)).symlink_to(tmp_path / "elsewhere")
    run(store, capsys, "--shrink-to", "0", "--remove")
    assert all((path / "file").exists() for path in others)
    assert (store.root / "vectors" / ("f" * 40)).is_symlink()


def test_drafts_of_the_dead_parts_and_fetched_packages_are_listed_and_removed(store, capsys):
    draft = store.root / "models" / ".draft-elsewhere-1-abcdefgh"
    pass_key = "d" * 40
    for path in (
        draft / "content" / "weights",
        store.root / "parts" / pass_key / "0-4" / "rows",
        store.root / "wheels" / "m.whl",
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(5000))
    for path in (draft, store.root / "parts" / pass_key, store.root / "wheels"):
        age(path, 3)
    _, text = run(store, capsys, "--kind", "draft", "--kind", "parts", "--kind", "wheels", "--remove")
    assert sorted(row[0] for row in rows(text)[1:]) == ["draft", "parts", "wheels"]
    assert all("5 kB" in row for row in rows(text)[1:])
    assert keys(store) == "abc"


def test_a_vector_without_a_note_is_known_by_its_record_whatever_its_name(store, capsys):
    name = "[bold]\x1b[31m"
    factor = LowRank(torch.ones(1, 2), torch.ones(2, 1), 1.0)
    store.put("vectors", "d" * 40, lambda folder: save_adapter(ValueVector(name, {"q": factor}, "base", "key"), folder))
    _, text = run(store, capsys, "--kind", "vectors")
    assert r"vector '[bold]\x1b[31m'" in text


@pytest.mark.parametrize("place", ["not there", "empty"])
def test_an_empty_cache_holds_nothing(tmp_path, capsys, place):
    (tmp_path / "empty").mkdir()
    status, text = run(Store(tmp_path / place), capsys)
    assert status == 0
    assert "holds nothing" in text


@pytest.mark.parametrize(
    "words", ["--older-than soon", "--older-than 3", "--shrink-to -1", "--shrink-to much", "--kind photos"]
)
def test_what_is_no_age_size_or_kind_is_refused_in_one_line(store, capsys, words):
    with pytest.raises(SystemExit) as ended:
        run(store, capsys, *words.split())
    assert ended.value.code == 2
    assert words.split()[1] in capsys.readouterr().err.splitlines()[-1]


def test_the_cache_is_that_of_the_environment(store, capsys, monkeypatch):
    monkeypatch.setenv("MVA_CACHE", str(store.root))
    assert main([]) == 0
    assert "vector 'a'" in capsys.readouterr().out


def test_every_example_of_the_help_is_understood(store, capsys, monkeypatch):
    monkeypatch.setenv("MVA_CACHE", str(store.root))
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    mva-cache(.*?)   ", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert main(shlex.split(command)) == 0
    assert keys(store) == "bc"
