"""One process writes in a run's folder, and a dead one holds nothing."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mva.apps.folder_lock import FolderBusy, writing, writing_if_allowed

CODE = (
    "import sys, time; from pathlib import Path; from mva.apps.folder_lock import writing\n"
    "with writing(Path(sys.argv[1])):\n    print('locked', flush=True); time.sleep(60)"
)


@contextmanager
def another_process(folder):
    with subprocess.Popen([sys.executable, "-c", CODE, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_a_folder_that_another_process_writes_in_is_refused_and_the_process_named(tmp_path):
    with another_process(tmp_path / "run") as process:
        with pytest.raises(FolderBusy, match=rf"Process {process.pid} .* writes in .*run: wait until it ends"):
            writing(tmp_path / "run").__enter__()
        with pytest.raises(FolderBusy):
            writing_if_allowed(tmp_path / "run").__enter__()


def test_the_lock_of_a_killed_process_is_free_and_its_drafts_are_removed(tmp_path):
    with another_process(tmp_path) as process:
        (tmp_path / f".front.json.{process.pid}.draft").write_text('{"half')
        process.send_signal(signal.SIGKILL)
        process.wait()
    with writing(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".writer"]
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_process_may_lock_its_folder_twice(tmp_path):
    with writing(tmp_path), writing(tmp_path):
        assert (tmp_path / ".writer").is_file()
    with another_process(tmp_path):
        pass
