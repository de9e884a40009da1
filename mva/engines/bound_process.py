"""`bound_process.py FOLDERS COMMAND...`, a script: it runs a command that ends with whoever started it.

Whoever starts it holds the other end of its standard input. When that closes, even because the holder was killed, the
command and all processes of its group are ended and FOLDERS (separated as in PATH) are removed. When the command ends
by itself, what it started is ended, too. A byte on the standard input ends the command and leaves FOLDERS. It needs the
standard library alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

_PATIENCE = 10.0  # seconds in which the command may tidy up
_REST = 5.0  # seconds more for the rest of its group: Python's resource tracker frees shared memory


def run(folders: Sequence[str], command: Sequence[str]) -> int:
    """Run `command` in a new process group; return its status, negative if a signal ended it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    abandoned = threading.Event()
    threading.Thread(target=_end_with_input, args=(process.pid, abandoned), daemon=True).start()
    status = process.wait()
    _end_rest(process.pid)
    if abandoned.is_set():
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return status


def _end_with_input(group: int, abandoned: threading.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1):
        abandoned.set()
    _signal(group, signal.SIGTERM)
    threading.Event().wait(_PATIENCE)
    _signal(group, signal.SIGKILL)


def _end_rest(group: int) -> None:
    # No other process gets the group's id before its last member has ended.
    deadline = time.monotonic() + _REST
    _signal(group, signal.SIGTERM)
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = run(sys.argv[1].split(os.pathsep), sys.argv[2:])
    sys.exit(128 - status if status < 0 else status)
