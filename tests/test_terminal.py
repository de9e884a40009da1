"""No character of data, models or file names commands the terminal or deceives its reader."""

import io
import json
import os
import re
import subprocess
import sys
import unicodedata

import pytest
from rich.table import Table
from rich.text import Text

import mva.apps.data
from mva.analysis.front_view import front_view
from mva.report.tables import summary
from mva.runs.run_folder import read_run
from mva.terminal import Console, visible, visible_data

TITLE = "\x1b]0;owned\x07"  # sets the window's title
CLEAR = "\x1b[2J"
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[12]K|\x1b\[1A|\r")  # colours, the cursor of a progress bar

DRAWS_EVERYTHING = """
import sys
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from mva.terminal import Console

evil = sys.argv[1]
console = Console(force_terminal=True, width=300)
table = Table(evil, title=evil)
table.add_row(evil, style="red")
table.add_row(Text(evil))
console.print(evil, table)
console.print(evil, markup=False, highlight=False, soft_wrap=True)
console.rule(evil)
with console.status(evil):
    pass
with Progress(console=console) as progress:
    progress.advance(progress.add_task(evil, total=2), 1)
"""

TELLS_EVERYTHING = """
import logging, sys, warnings
from mva.apps.streams import guard_streams

evil = sys.argv[1]
guard_streams()
warnings.warn(evil)
logging.basicConfig(level=logging.INFO)
logging.info("a record of %s", evil)
try:
    raise ValueError(evil)
except ValueError:
    logging.exception("a traceback of %s", evil)
raise OSError(evil)
"""


def output_of(*words):
    """Both streams of a Python program, as they would reach a terminal."""
    done = subprocess.run(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    return done.stdout.decode()


def printed(renderable):
    stream = io.StringIO()
    Console(file=stream, width=200).print(renderable)
    return stream.getvalue()


def test_every_control_character_and_override_of_unicode_becomes_an_escape():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    for letter in visible(everything):
        kind = unicodedata.category(letter)
        assert kind not in {"Cc", "Cs", "Zl", "Zp"} or letter in "\t\n"
        assert unicodedata.bidirectional(letter) not in BIDI


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (TITLE, r"\x1b]0;owned\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("rm\rls", r"rm\rls"),
        ("\x7f\x08", r"\x7f\x08"),
        ("user\u202eexe.txt", r"user\u202eexe.txt"),
        ("help\u200bful help\u200dful", r"help\u200bful help\u200dful"),
        ("a\u2028b\ud800", r"a\u2028b\ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
    ],
)
def test_what_deceives_is_shown(text, shown):
    assert visible(text) == shown
    assert visible(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "two\n\tlines",
        "naïve 100\u00a0% 日本語\u3000全角",
        "family 👩\u200d👩\u200d👧 ✊🏽",
        "می\u200cخواهم",
        r"C:\x1b [bold] \n",
        "",
    ],
)
def test_text_of_any_language_stays_as_it_is(text):
    assert visible(text) == text


def test_plain_data_is_made_visible_throughout():
    data = {"a\x1b": [1, None, "b\x07", ("c\x9b", 2.5)]}
    assert visible_data(data) == {r"a\x1b": [1, None, r"b\x07", [r"c\x9b", 2.5]]}


def test_a_table_of_strangers_names_stays_straight():
    table = Table("name\x1b[1m", "number", title=CLEAR)
    table.add_row("\u202eevil", "1")
    table.add_row(Text("plain"), "2")
    lines = printed(table).splitlines()
    assert len({len(line) for line in lines[1:]}) == 1
    assert r"\u202eevil" in lines[4]


@pytest.mark.parametrize("evil", [TITLE, CLEAR, "\x9b2J", "\x1bc", "\x1b[8mhidden", "\u202egpj.exe", "back\x08\x08up"])
def test_nothing_of_it_reaches_a_terminal_by_way_of_rich(evil):
    output = output_of("-c", DRAWS_EVERYTHING, evil)
    assert "\x1b[31m" in output, "rich's own colours are left out"
    assert output.count(visible(evil).replace("\\x08", "")) + output.count(visible(evil)) >= 6
    assert evil not in output
    assert visible(OWN.sub("", output)) == OWN.sub("", output)


@pytest.mark.parametrize("evil", [TITLE, CLEAR, "\u202egpj.exe", "one\rtwo"])
def test_nothing_of_it_reaches_a_terminal_by_way_of_warnings_logs_and_tracebacks(evil):
    output = output_of("-c", TELLS_EVERYTHING, evil)
    assert visible(output) == output
    for words in ("UserWarning: {}", "a record of {}", "a traceback of {}", "ValueError: {}", "OSError: {}"):
        assert words.format(visible(evil)) in output


def test_names_of_files_and_rows_of_data_are_shown_as_escapes_by_the_commands(tmp_path, capsys):
    path = tmp_path / f"pairs{CLEAR}.jsonl"
    path.write_text(json.dumps({"prompt": TITLE, "chosen": 1, "rejected": "b"}) + f"\n{{{TITLE}\n")
    assert mva.apps.data.main([str(path)]) == 1
    with pytest.raises(SystemExit):
        mva.apps.data.main([f"--{CLEAR}", str(path)])
    checked = capsys.readouterr()
    missing = output_of("-m", "mva.apps.report", f"run='{tmp_path}/{CLEAR}'", f"hydra.run.dir={tmp_path}/hydra")
    for output in (checked.out, checked.err, missing):
        assert "Traceback" not in output
        assert r"\x1b[2J" in re.sub(r"\s", "", output)
        assert visible(output) == output


def test_a_strangers_run_is_summed_up_with_escapes(make_run_folder, tmp_path):
    folder = make_run_folder(tmp_path / "run\x07", 2)
    record = json.loads((folder / "data.json").read_text())
    for facts in record["values"].values():
        facts["problems"] = {f"duplicate{TITLE}": 2}
    (folder / "data.json").write_text(json.dumps(record))
    timings = {"schema_version": 1, "stages": [{"name": f"Train {CLEAR}", "seconds": 1.5}]}
    (folder / "timings.json").write_text(json.dumps(timings))
    run = read_run(folder)
    output = printed(summary(run, front_view(run)))
    assert visible(output) == output
    for words in (r"2 x duplicate\x1b]0;owned\x07", r"Train \x1b[2J 2 s", r"run\x07"):
        assert words in output.replace("\n", "")
