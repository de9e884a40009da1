"""Files of labelled preference pairs that nothing is trained on: what rewards are checked on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mva.data.checks import EmptyData
from mva.data.formats import PairColumns, PairFormat, Transcripts
from mva.data.loading import OnBadRow, read_pairs, sample_pairs
from mva.data.preference import PreferencePair, ValueData
from mva.data.rendering import Rendering
from mva.data.sources.base import BadRow, DataUnavailable, Row
from mva.data.sources.local_files import SUFFIXES, LocalFiles
from mva.data.tokenized import rendered_pairs

Files = Mapping[str, Sequence[str]] | Sequence[str]
KEY = "evaluation.reward_check"


@dataclass(frozen=True)
class LabelledPairs:
    """A file's pairs under a short name; `value` is the only value that they speak of, None where they speak of all."""

    name: str
    pairs: tuple[PreferencePair, ...]
    value: str | None = None

    def unseen_by(self, data: ValueData) -> list[bool]:
        """Say of each pair whether its prompt stands in none of the value's training pairs."""
        seen = {pair.prompt for pair in data.train}
        return [pair.prompt not in seen for pair in self.pairs]


@dataclass(frozen=True)
class AnyForm:
    """Reads a row by its columns, as `mva-data` does with the right options.

    With a `prompt` column: prompt, chosen and rejected, the prompt labelled if it begins with `Human:`. Without one:
    whole dialogues of chat messages, or transcripts where `chosen` is text.
    """

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield the row's pair."""
        return _form_of(row).pairs(row)


def _form_of(row: Row) -> PairFormat:
    prompt = row.fields.get("prompt")
    if prompt is not None:
        return PairColumns(dialogue=isinstance(prompt, str) and prompt.lstrip().startswith("Human:"))
    return Transcripts() if isinstance(row.fields.get("chosen"), str) else PairColumns(prompt=None)


def read_labelled(
    files: Files, *, form: PairFormat | None = None, on_bad_row: OnBadRow = "error", limit: int | None = None
) -> tuple[list[LabelledPairs], list[BadRow]]:
    """Read labelled files; a folder stands for the files in it.

    A source is named by the shortest ending of its path that no other source has. `form` says how rows become pairs
    (None: by their columns); of more than `limit` pairs a sample is taken, by the hash of their prompts.

    Returns:
        The sources, in their order, and the rows that were skipped.

    Raises:
        DataUnavailable: If a file is missing or can't be read, or a folder has none.
        BadRow: For the first unusable row, unless `on_bad_row` is "skip".
        EmptyData: If a file has no usable pair.
    """
    listed: list[tuple[str | None, Path]] = []
    if isinstance(files, Mapping):
        for value, given in files.items():
            listed += [(value, path) for path in _files_of(given)]
    else:
        listed += [(None, path) for path in _files_of(files)]
    names = _short_names([path for _, path in listed])
    read: dict[Path, tuple[PreferencePair, ...]] = {}
    skipped: list[BadRow] = []
    for path in names:
        pairs, bad = _read(path, form or AnyForm())
        if bad and on_bad_row == "error":
            raise bad[0]
        if not pairs:
            raise EmptyData(f"{path} has no usable pair to check rewards on: leave it out of {KEY}.")
        skipped += bad
        read[path] = tuple(sample_pairs(pairs, limit))
    return [LabelledPairs(names[path], read[path], value) for value, path in listed], skipped


def check_unseen(sources: Iterable[LabelledPairs], data: Mapping[str, ValueData]) -> None:
    """Check that every value has pairs in each of its sources whose prompts it is not trained on.

    Raises:
        EmptyData: For the first source without any.
    """
    for source in sources:
        for value in data if source.value is None else [source.value]:
            if not any(source.unseen_by(data[value])):
                raise EmptyData(
                    f"All {len(source.pairs)} pairs of {source.name} have prompts that '{value}' is trained on: "
                    f"name other files in {KEY}."
                )


def renderable_sources(
    sources: Iterable[LabelledPairs], rendering: Rendering, *, on_bad_row: OnBadRow
) -> tuple[list[LabelledPairs], list[BadRow]]:
    """Leave out the pairs whose dialogue the chat template refuses; returns those too.

    Raises:
        BadRow: For the first such pair, unless `on_bad_row` is "skip".
        EmptyData: If a source has no pair left.
    """
    usable: list[LabelledPairs] = []
    skipped: list[BadRow] = []
    for source in sources:
        pairs, refused = rendered_pairs(source.pairs, rendering)
        skipped += refused
        if refused and on_bad_row == "error":
            raise refused[0]
        if not pairs:
            raise EmptyData(f"{source.name} has no pairs that the model's chat template takes: {refused[0]}.")
        usable.append(replace(source, pairs=pairs))
    return usable, skipped


def _read(path: Path, form: PairFormat) -> tuple[list[PreferencePair], list[BadRow]]:
    pairs: list[PreferencePair] = []
    bad: list[BadRow] = []
    for row in LocalFiles(str(path)).rows():
        try:
            pairs += read_pairs(row, form)
        except BadRow as problem:
            bad.append(problem)
    return pairs, bad


def _files_of(given: Iterable[str]) -> list[Path]:
    """Name the files, each once; those of a folder in the order of their names."""
    files: list[Path] = []
    for name in given:
        path = Path(name).expanduser()
        if not path.is_dir():
            files.append(path)
            continue
        within = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
        if not within:
            raise DataUnavailable(f"{path} has no file that ends in {', '.join(SUFFIXES)}: name another in {KEY}.")
        files += within
    return list(dict.fromkeys(file.resolve() for file in files))


def _short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Name each path by its shortest ending, without the suffix, that no other has."""
    parts = {path: (*path.parts[:-1], _stem(path)) for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for another, other in parts.items() if another != path]
        length = next((k for k in range(1, len(own)) if all(other[-k:] != own[-k:] for other in others)), len(own))
        names[path] = "/".join(own[-length:])
    return names


def _stem(path: Path) -> str:
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), "")
    return path.name.removesuffix(suffix)
