"""What faults leave in the store: damage is noticed and mended, drafts of the dead go, a disk's refusal is one sentence."""

import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from mva.models.disk import DiskTrouble, require_space, size_text
from mva.models.store import Store

CONTENT = {"weights": b"\x00\x01" * 50, "deep/history.json": b"[1, 2]"}


def write(folder):
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


@pytest.fixture
def entry(store):
    return store.put("vectors", "key", write)


def rewrite_manifest(entry, change):
    manifest = json.loads((entry / "manifest.json").read_text())
    (entry / "manifest.json").write_text(json.dumps(change(manifest)))


def become_a_file(entry):
    shutil.rmtree(entry)
    entry.write_text("not a folder")


def become_a_dangling_link(entry):
    shutil.rmtree(entry)
    entry.symlink_to("nowhere")


DAMAGES = {
    "an empty manifest": lambda entry: rewrite_manifest(entry, lambda _: {}),
    "an unlisted file": lambda entry: (entry / "more").touch(),
    "a manifest that leaves a file out": lambda entry: rewrite_manifest(entry, lambda m: {"weights": m["weights"]}),
    "a manifest that lists a file too many": lambda entry: rewrite_manifest(entry, lambda m: {**m, "x": m["weights"]}),
    "a manifest that points outside": lambda entry: rewrite_manifest(entry, lambda m: {**m, "../x": m["weights"]}),
    "a manifest that is a list": lambda entry: rewrite_manifest(entry, list),
    "a manifest of numbers": lambda entry: rewrite_manifest(entry, lambda m: dict.fromkeys(m, 1)),
    "a manifest nested too deep": lambda entry: (entry / "manifest.json").write_text("[" * 100_000),
    "no manifest": lambda entry: (entry / "manifest.json").unlink(),
    "a manifest that is a folder": lambda entry: [
        (entry / "manifest.json").unlink(),
        (entry / "manifest.json").mkdir(),
    ],
    "a flipped bit": lambda entry: (entry / "weights").write_bytes(b"\x00\x01" * 49 + b"\x00\x03"),
    "an empty folder": lambda entry: [shutil.rmtree(entry), entry.mkdir()],
    "a file in its place": become_a_file,
    "a dangling link in its place": become_a_dangling_link,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_named_and_made_again(store, entry, damage):
    DAMAGES[damage](entry)
    with pytest.warns(UserWarning, match="vectors/key is damaged"):
        assert store.get("vectors", "key") is None
    store.put("vectors", "key", write)
    assert {name: (store.get("vectors", "key") / name).read_bytes() for name in CONTENT} == CONTENT


def put_and_hang(store):
    def hang(folder):
        write(folder)
        (store.root / "hanging").touch()
        time.sleep(60)

    store.put("vectors", "key", hang)


@pytest.fixture
def writer(store):
    """A process in the middle of a put."""
    process = multiprocessing.get_context("fork").Process(target=put_and_hang, args=(store,))
    process.start()
    deadline = time.monotonic() + 20
    while not (store.root / "hanging").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


def hidden(store):
    return sorted((store.root / "vectors").glob(".*"))


def test_the_draft_of_a_killed_put_goes_with_the_next_put(store, writer):
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    (draft,) = hidden(store)
    assert (draft / "content" / "weights").exists()
    store.put("vectors", "another", write)
    assert hidden(store) == []


def test_the_draft_of_a_living_put_stays_however_old_it_looks(store, writer):
    (draft,) = hidden(store)
    for path in (draft, *draft.rglob("*")):
        os.utime(path, (0, 0))
    store.put("vectors", "another", write)
    assert hidden(store) == [draft]


@pytest.mark.parametrize("name", [".0123456789ab-x1_y2z3w", ".draft-elsewhere-1-abcdefgh"])
@pytest.mark.parametrize(("hours", "stays"), [(1, True), (25, False)])
def test_drafts_without_a_process_here_go_after_a_day_of_silence(store, name, hours, stays):
    draft = store.root / "vectors" / name
    draft.mkdir(parents=True)
    (draft / "weights").touch()
    for path in (draft / "weights", draft):
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    store.put("vectors", "key", write)
    assert draft.exists() == stays


def test_nothing_but_drafts_is_swept(store):
    for name in (".mine", ".config-files", "key-of-mine"):
        (store.root / "vectors" / name).mkdir(parents=True)
        os.utime(store.root / "vectors" / name, (0, 0))
    store.put("vectors", "key", write)
    assert {path.name for path in (store.root / "vectors").iterdir()} == {
        ".mine",
        ".config-files",
        "key-of-mine",
        "key",
    }


@contextmanager
def unprivileged():
    """Root reads and writes everything: give its rights up for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def read_only():
    """A store of one entry, which can't be written."""
    home = Path(tempfile.mkdtemp())
    store = Store(home / "cache")
    with store.making("vectors", "key", what="the vector"):
        store.put("vectors", "key", write)
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    with unprivileged():
        yield store
    for folder in folders:
        folder.chmod(0o755)
    shutil.rmtree(home)


def test_a_read_only_store_is_read_without_locks(read_only):
    with read_only.making("vectors", "key", what="the vector"):
        assert (read_only.get("vectors", "key") / "weights").read_bytes() == CONTENT["weights"]


def test_a_read_only_store_says_which_path_and_how_to_mend_it_before_anything_is_made(read_only):
    with (
        pytest.raises(
            DiskTrouble, match=r"the vector 'kind' has to be: allow it, or .*paths\.cache=FOLDER or MVA_CACHE"
        ) as caught,
        read_only.making("vectors", "key", "missing", what="the vector 'kind'"),
    ):
        pytest.fail("the work has begun")
    assert str(read_only.root) in str(caught.value)
    with pytest.raises(DiskTrouble, match=r"can't be written"):
        read_only.put("vectors", "missing", write)


def in_words_of_the_system(folder):
    with Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")


def in_words_of_torch(folder):
    with Path("/dev/full").open("wb", buffering=0) as full:
        torch.save({"x": torch.zeros(10)}, full)


def in_words_of_safetensors(folder):
    # Measured on a full file system; safetensors renames its file, so that no device can stand in for the target.
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("writer", [in_words_of_the_system, in_words_of_torch, in_words_of_safetensors])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(store, writer):
    with pytest.raises(DiskTrouble, match=r"No space left for the entry vectors/key in .*mva-cache") as caught:
        store.put("vectors", "key", writer)
    assert "\n" not in str(caught.value)
    assert list((store.root / "vectors").iterdir()) == []


@pytest.mark.parametrize("place", ["cache", "cache/vectors", "cache/locks"])
def test_a_file_where_a_folder_belongs_is_named(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    with pytest.raises(DiskTrouble, match=rf"{place}.* is in the way of the entry vectors/key"):
        Store(tmp_path / "cache").put("vectors", "key", write)


def test_an_error_of_the_writer_stays_its_own(store):
    def fail(folder):
        raise FileNotFoundError(2, "No such file", "the wheel")

    with pytest.raises(FileNotFoundError, match="the wheel"):
        store.put("vectors", "key", fail)


def test_too_little_space_is_noticed_before_the_write(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    require_space(tmp_path / "not" / "there", 1000, what="The vector")
    with pytest.raises(
        DiskTrouble, match=rf"The vector needs .*B in {tmp_path}/not/there, where .*B are free: make room"
    ):
        require_space(tmp_path / "not" / "there", 2 * free + 10**15, what="The vector")


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (999_600, "1 MB"), (5.4e8, "540 MB"), (7e15, "7e+03 TB")],
)
def test_sizes_have_three_digits(n_bytes, text):
    assert size_text(n_bytes) == text


def test_notes_stand_beside_the_entry_and_may_be_anything(store, entry):
    before = (entry / "manifest.json").read_bytes()
    store.annotate("vectors", "key", what="the vector 'kind'")
    store.annotate("vectors", "key", seconds=1.5)
    assert store.note("vectors", "key") == {"what": "the vector 'kind'", "seconds": 1.5}
    assert (entry / "manifest.json").read_bytes() == before
    for text in ("", "[]", "[" * 100_000, "\x00"):
        (store.root / "notes" / "vectors-key.json").write_text(text)
        assert store.note("vectors", "key") == {}


def test_asking_for_an_entry_says_when_it_was_used(store, entry):
    os.utime(entry / "manifest.json", (0, 0))
    store.get("vectors", "key")
    assert time.time() - (entry / "manifest.json").stat().st_mtime < 60
