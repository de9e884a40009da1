"""Starts apps in forked children: the imports are paid once, and every app is still a real process of its own.

Reads requests as JSON lines on stdin and answers each with one line on stdout. A request is
`{"app": "run", "words": [...], "env": {...}, "cwd": "...", "log": "...", "errors": "...", "stop": {...} or null,
"largest_file": n or null}`: `log` receives stdout and `errors` stderr, no file may grow beyond `largest_file` bytes, and
an app that takes longer than five minutes is killed. With
`stop = {"signal": 9, "at_write": k}` the child sends itself the signal before the k-th time that it opens a file for
writing, renames, deletes or makes something; with `"after_seconds": s` the parent sends it. The answer holds the exit
status (negative: the signal) and the number of such operations. With `stop = {"clock": s, "at_write": k}` the child's clock jumps by `s` seconds
there, instead of a signal.
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.move"}
_WRITING = os.O_WRONLY | os.O_RDWR
_APPS = ("run", "tune", "data", "explore", "export", "judge", "report", "rewards")
_PATIENCE = 300


class CountedWrites:
    """Counts the operations that change files, and sends this process a signal before one of them."""

    def __init__(self, stop: dict | None, report: int) -> None:
        stop = stop or {}
        self._at, self._signal, self._clock = stop.get("at_write"), stop.get("signal"), stop.get("clock")
        self._report, self.n = report, 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if event not in _CHANGES and not (event == "open" and _opens_for_writing(arguments)):
            return
        self.n += 1
        os.pwrite(self._report, str(self.n).encode(), 0)
        if self.n == self._at and self._clock is not None:
            _move_clock(self._clock)
        elif self.n == self._at:
            os.kill(os.getpid(), self._signal)


def _move_clock(seconds: float) -> None:
    original = time.time
    time.time = lambda: original() + seconds


def _opens_for_writing(arguments: tuple) -> bool:
    path, _, flags = arguments
    return isinstance(flags, int) and bool(flags & _WRITING) and not str(path).startswith("/dev/")


def child(request: dict, report: int) -> None:
    """Become the app; never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(_PATIENCE)
    for path, stream in ((request["log"], 1), (request["errors"], 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.stdin.close()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if request["largest_file"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], request["largest_file"]))
    sys.argv = [f"mva-{request['app']}", *request["words"]]
    sys.addaudithook(CountedWrites(request["stop"], report))
    try:
        code = importlib.import_module(f"mva.apps.{request['app']}").main() or 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve(request: dict) -> dict:
    """Run a request to its end."""
    report_path = Path(request["log"] + ".writes")
    report = os.open(report_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    pid = os.fork()
    if pid == 0:
        child(request, report)
    after = (request["stop"] or {}).get("after_seconds")
    if after is not None:
        time.sleep(after)
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, request["stop"]["signal"])
            _, status = os.waitpid(pid, 0)
    else:
        _, status = os.waitpid(pid, 0)
    os.close(report)
    n_writes = int(report_path.read_text() or 0)
    report_path.unlink()
    return {"code": os.waitstatus_to_exitcode(status), "n_writes": n_writes}


def _answer(record: object) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Import everything once, then answer requests until stdin ends."""
    for app in _APPS:
        importlib.import_module(f"mva.apps.{app}")
    _answer("ready")
    for line in sys.stdin:
        _answer(serve(json.loads(line)))


if __name__ == "__main__":
    main()
