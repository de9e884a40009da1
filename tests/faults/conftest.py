"""Runs that are killed and resumed, and what has to be the same afterwards."""

import json
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# A whole run of three values in a few seconds; no two stages share their numbers.
SMALL = (
    "debug=smoke", "value=helpful_harmless_honest", "tracking=local", "search=coarse", "report.forms=[]",
    "data.max_train_pairs=24", "trainer.recipe.steps=4", "evaluation.n_validation_prompts=3",
    "evaluation.n_test_prompts=3", "evaluation.generation.max_new_tokens=4",
)  # fmt: skip
# What the clock decides, or the terminal; everything else is a function of the configuration.
_CLOCKS = {"seconds", "cost", "time", "stages"}
# multirun.yaml holds the folder's absolute path, study.db times beside what tune.json says.
_UNCOMPARED = {
    "multirun.yaml",
    "study.db",
    "run.log",
    "timings.json",
    "report.html",
    "environment.json",
    "metrics.jsonl",
}


_LEDGERS = ("candidates.jsonl", "generations.jsonl")


@dataclass
class Apps:
    """Starts apps, each in a process of its own with `home` as its folder and cache."""

    server: subprocess.Popen[str]
    home: Path
    env: dict[str, str] = field(default_factory=dict)

    small = SMALL

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def log(self) -> str:
        """What the apps wrote to the terminal."""
        path = self.home / "terminal.txt"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def __call__(
        self, *words: str, app: str = "run", stop: dict[str, Any] | None = None, largest_file: int | None = None
    ) -> dict[str, int]:
        """Run an app to its end; returns its exit status and how many operations changed files."""
        request = {
            "app": app, "words": words, "cwd": str(self.home), "stop": stop,
            **dict.fromkeys(("log", "errors"), str(self.home / "terminal.txt")), "env": {"MVA_CACHE": "cache", **self.env}, "largest_file": largest_file,
        }  # fmt: skip
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def results(self, folder: str = "run") -> dict[str, Any]:
        """Read what a run or sweep left behind; see `results`."""
        return results(self.home / folder)

    def stored(self) -> dict[str, dict[str, bytes]]:
        """Read the whole entries of the cache; see `stored`."""
        return stored(self.cache)

    def finished(self, folder: str = "run") -> "Finished":
        """Note what is finished now, to see later that nobody made it again."""
        entries = {path.parent: path.stat().st_ino for path in self.cache.glob("*/[!.]*/manifest.json")}
        ledgers = {path: _whole_lines(path) for path in (self.home / folder).rglob("*.jsonl")}
        return Finished(entries, {path: lines for path, lines in ledgers.items() if path.name in _LEDGERS})


@dataclass(frozen=True)
class Finished:
    """Entries of the cache by inode, and the whole lines of the ledgers."""

    entries: dict[Path, int]
    ledgers: dict[Path, list[str]]

    def made_again(self) -> list[str]:
        """List the entries and ledgers that are not what they were; new lines at the end are none of these."""
        entries = [str(path) for path, inode in self.entries.items() if (path / "manifest.json").stat().st_ino != inode]
        ledgers = [str(path) for path, lines in self.ledgers.items() if _whole_lines(path)[: len(lines)] != lines]
        repeated = [str(path) for path in self.ledgers if len(set(_names(path))) < len(_names(path))]
        return [*entries, *ledgers, *repeated]


def _whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _names(path: Path) -> list[tuple[str, ...]]:
    """Name what each line of a ledger is about."""
    lines = [json.loads(line) for line in _whole_lines(path)]
    return [tuple(str(line.get(key)) for key in ("id", "split", "prompt_id", "key", "evaluation")) for line in lines]


@pytest.fixture
def apps(app_server, tmp_path):
    return Apps(app_server, tmp_path)


@pytest.fixture(scope="session")
def make_apps(app_server, tmp_path_factory):
    """Make a home for apps that several tests share."""
    return lambda: Apps(app_server, tmp_path_factory.mktemp("apps"))


@dataclass(frozen=True)
class Undisturbed:
    """What a run left behind that nothing disturbed, and how many operations changed files."""

    results: dict[str, Any]
    stored: dict[str, dict[str, bytes]]
    n_writes: int


@pytest.fixture(scope="session")
def undisturbed(make_apps):
    """Run the small experiment from nothing to its end."""
    apps = make_apps()
    ended = apps(*SMALL, "hydra.run.dir=run")
    assert ended["code"] == 0, apps.log
    return Undisturbed(apps.results(), apps.stored(), ended["n_writes"])


def results(folder: Path) -> dict[str, Any]:
    """Read all that a run or sweep left behind, without what the clock decides; ledgers as counted lines."""
    contents: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (
            not path.is_file()
            or path.name in _UNCOMPARED
            or any(part.startswith(".") for part in Path(name).parts)
            or path.suffix == ".html"
        ):
            continue
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            contents[name] = Counter(json.dumps(_timeless(json.loads(line)), sort_keys=True) for line in lines)
        elif path.suffix == ".json":
            contents[name] = _timeless(json.loads(path.read_text(encoding="utf-8")))
        else:
            contents[name] = path.read_bytes()
    return contents


def stored(cache: Path) -> dict[str, dict[str, bytes]]:
    """Read the entries of a cache: kind/key -> file -> bytes, without what training cost."""
    entries = {path.parent for path in cache.glob("*/[!.]*/manifest.json")}  # drafts of the killed begin with a dot
    return {str(entry.relative_to(cache)): _files(entry) for entry in entries}


def _files(entry: Path) -> dict[str, bytes]:
    # manifest.json and mva_vector.json hold the seconds that training took.
    uncompared = ("manifest.json", "mva_vector.json")
    return {path.name: path.read_bytes() for path in entry.iterdir() if path.name not in uncompared}


def _timeless(record: Any) -> Any:
    if isinstance(record, dict):
        return {key: _timeless(value) for key, value in record.items() if key not in _CLOCKS}
    if isinstance(record, list):
        return [_timeless(value) for value in record]
    return record
