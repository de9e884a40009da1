"""Two processes that need the same entry: one makes it, the other waits and says so; the dead hold no lock."""

import signal
import subprocess
import sys
import time

import pytest

from mva.models.store import Store

MAKER = """
import sys, time
from pathlib import Path
from mva.models.store import Store

root, seconds = Path(sys.argv[1]), float(sys.argv[2])
store = Store(root)

def write(folder):
    with (root / "made").open("a") as file:
        file.write("x")
    print("making", flush=True)
    time.sleep(seconds)
    (folder / "content").write_text("the same")

with store.making("vectors", "key", what="the vector 'kind'"):
    if store.get("vectors", "key") is None:
        store.put("vectors", "key", write)
print((store.get("vectors", "key") / "content").read_text(), flush=True)
"""


def start(root, seconds):
    command = [sys.executable, "-c", MAKER, str(root), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def processes():
    started = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_one_makes_and_the_other_waits_and_says_so_in_one_line(tmp_path, processes):
    processes.append(start(tmp_path, 8))
    assert processes[0].stdout.readline() == "making\n"
    processes.append(start(tmp_path, 0))
    (out, _), (waiter_out, waiter_err) = (process.communicate(timeout=60) for process in processes)
    assert out == waiter_out == "the same\n"
    assert (tmp_path / "made").read_text() == "x"
    (line,) = waiter_err.splitlines()
    assert line.startswith(f"Waiting for process {processes[0].pid} on ")
    assert line.endswith("which makes the vector 'kind'.")


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path, processes):
    processes.append(start(tmp_path, 60))
    assert processes[0].stdout.readline() == "making\n"
    processes[0].send_signal(signal.SIGKILL)
    processes[0].wait()
    begin = time.monotonic()
    with Store(tmp_path).making("vectors", "key", what="the vector"):
        assert Store(tmp_path).get("vectors", "key") is None
    assert time.monotonic() - begin < 1


def test_ctrl_c_ends_the_waiting(tmp_path, processes):
    processes += [start(tmp_path, 60)]
    processes[0].stdout.readline()
    processes += [start(tmp_path, 0)]
    assert "Waiting for" in processes[1].stderr.readline()
    processes[1].send_signal(signal.SIGINT)
    _, error = processes[1].communicate(timeout=20)
    assert "KeyboardInterrupt" in error
    assert processes[1].returncode


def test_several_entries_are_locked_in_one_order_and_freed_after_errors(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="no"), store.making("vectors", "b", "a", what="two"):
        raise RuntimeError("no")
    with store.making("vectors", "a", "b", what="two"):
        pass
