"""`mva-data FILE...`: what is wrong with preference data, before anything is trained on it.

Examples:
    mva-data helpful.jsonl                      a file with the columns prompt, chosen and rejected
    mva-data train.jsonl.gz test.jsonl.gz --labelled   two files, of dialogues like "Human: ... Assistant: ..."
    mva-data pairs.parquet --form dialogues model=qwen3   chat dialogues, and what this model's tokens make of them
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from hydra.utils import get_method
from rich.markup import escape
from rich.table import Table

from mva.apps.command import conf_folder
from mva.apps.errors import MENDABLE, sentence, user_errors
from mva.apps.streams import guard_streams
from mva.data.checks import DataReport, check_value, shared_prompts
from mva.data.formats import PairColumns, PairFormat, Transcripts
from mva.data.loading import read_pairs
from mva.data.preference import PreferencePair, ValueData
from mva.data.sources.base import BadRow
from mva.data.sources.local_files import LocalFiles
from mva.data.token_checks import Problems, control_tokens
from mva.data.tokenization import TokenLimits
from mva.terminal import Console, visible

TokenCheck = Callable[[Sequence[PreferencePair]], Problems]
_N_PLACES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files and print what was found; the exit code is 1 if there is any problem, 2 if they can't be read."""
    guard_streams()
    given = sys.argv[1:] if arguments is None else arguments
    words = [f"--{word}" if word.startswith("model=") else word for word in given]
    options = _parser().parse_args(words)
    console = Console()
    try:
        with console.status("Reading"):
            reports, shared = check_files(options.files, _format(options), lambda: _token_check(options))
    except user_errors() as error:
        Console(stderr=True).print(sentence(error, given, conf_folder()), markup=False, highlight=False)
        return MENDABLE
    problems = [(r.value, kind, places) for r in reports for kind, places in r.problems.items()]
    if shared:
        problems.append(("several files", "prompt that stands in two files", tuple(shared)))
    console.print(_counts_table(reports))
    console.print(_problems_table(problems) if problems else "[green]No problems found.[/]")
    return 1 if problems else 0


def check_files(
    paths: Iterable[str], form: PairFormat, make_token_check: Callable[[], TokenCheck] = lambda: control_tokens
) -> tuple[list[DataReport], list[str]]:
    """Check each file by itself, and find the places of the prompts that several of them share.

    `make_token_check`, which is called once the first file is read, makes what looks at the pairs' tokens.

    Raises:
        DataUnavailable: If a file is missing or can't be read.
    """
    reports, pairs_by_file = [], {}
    token_check: TokenCheck | None = None
    for path in dict.fromkeys(paths):
        pairs, unusable = _read(path, form)
        report = check_value(ValueData(Path(path).name, tuple(pairs), (), ()), unusable)
        token_check = token_check or make_token_check()
        report = replace(report, problems={**report.problems, **token_check(pairs)})
        if not pairs:
            report = replace(report, problems={**report.problems, "no usable pair in the file": (path,)})
        reports.append(report)
        pairs_by_file[path] = pairs
    return reports, shared_prompts(pairs_by_file)


def _read(path: str, form: PairFormat) -> tuple[list[PreferencePair], list[BadRow]]:
    pairs: list[PreferencePair] = []
    unusable: list[BadRow] = []
    for row in LocalFiles(path).rows():
        try:
            pairs += read_pairs(row, form)
        except BadRow as bad:
            unusable.append(bad)
    return pairs, unusable


def _token_check(options: argparse.Namespace) -> TokenCheck:
    """Say what looks at the tokens: the model that is asked for, which takes torch, or a list of well-known marks."""
    if options.model is None:
        return control_tokens
    of_model: Any = get_method("mva.apps.data_model.token_check")
    check: TokenCheck = of_model(options.model, TokenLimits(options.max_prompt, options.max_response))
    return check


def _format(options: argparse.Namespace) -> PairFormat:
    if options.form == "transcripts":
        return Transcripts(options.chosen, options.rejected)
    prompt = options.prompt if options.form == "columns" else None
    return PairColumns(prompt, options.chosen, options.rejected, options.labelled)


def _counts_table(reports: Iterable[DataReport]) -> Table:
    table = Table("File", title="Preference data", title_justify="left")
    for heading in ("Usable pairs", "Problems", "Longer response is the chosen one"):
        table.add_column(heading, justify="right")
    for report in reports:
        n_problems = sum(len(places) for places in report.problems.values())
        table.add_row(
            escape(report.value), str(report.counts["train"]), str(n_problems), f"{report.longer_is_chosen:.0%}"
        )
    return table


def _problems_table(problems: Iterable[tuple[str, str, tuple[str, ...]]]) -> Table:
    table = Table("File", "Problem", title="Problems", title_justify="left", show_lines=True)
    table.add_column("Count", justify="right")
    table.add_column("Where", overflow="fold")
    for file, kind, places in problems:
        more = "\n..." if len(places) > _N_PLACES else ""
        table.add_row(escape(file), escape(kind), str(len(places)), escape("\n".join(places[:_N_PLACES])) + more)
    return table


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the words of the command line, which a pattern may have filled with names of files."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        super().error(visible(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mva-data",
        description=__doc__,
        epilog="Reads .jsonl, .jsonl.gz, .parquet and .csv. Finds unusable rows, duplicates, contradictions, and\n"
        "prompts that several files share. Exits with 1 if there is any problem, with 2 if it can't check.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="the files to check")
    parser.add_argument(
        "--form",
        choices=["columns", "dialogues", "transcripts"],
        default="columns",
        help="columns: prompt, chosen and rejected apart; dialogues: chosen and rejected are whole lists of "
        "chat messages; transcripts: they are whole labelled texts, as in Anthropic/hh-rlhf",
    )
    parser.add_argument("--prompt", default="prompt", metavar="COLUMN", help="where the prompt is")
    parser.add_argument("--chosen", default="chosen", metavar="COLUMN", help="where the better response is")
    parser.add_argument("--rejected", default="rejected", metavar="COLUMN", help="where the worse one is")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="check what this model's tokens make of the pairs: an option of the group model (model=qwen3), a folder "
        "or a hub name; its weights are not loaded",
    )
    parser.add_argument("--max-prompt", type=int, default=512, metavar="TOKENS", help="the longest prompt (512)")
    parser.add_argument("--max-response", type=int, default=512, metavar="TOKENS", help="the longest response (512)")
    parser.add_argument("--labelled", action="store_true", help="prompts are text with Human: / Assistant:")
    return parser
