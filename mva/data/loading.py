"""From rows to a value's data: read, sort into splits, sample, check."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from mva.checks import BadSetting, Bounds, Count, Text, check
from mva.data.checks import DataReport, EmptyData, check_value
from mva.data.collector import paused
from mva.data.formats import PairFormat
from mva.data.preference import PreferencePair, Split, ValueData, prompt_id
from mva.data.sources.base import BadRow, Row, Source
from mva.data.tokenization import TokenLimits
from mva.names import check_name

OnBadRow = Literal["error", "skip"]
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class ValueSource:
    """Where one value's pairs come from.

    Rows of `test` are held out. Of the others, the field `split_field` says where they go (train, validation
    or test); where there is none, the given fractions of the prompts become validation and test, by a hash of
    the prompt alone, so that a prompt lands in the same split whichever value it belongs to.
    """

    train: Source
    format: PairFormat
    test: Source | None = None
    validation_fraction: Annotated[float, Bounds(0, 1, below=True)] = 0.1
    test_fraction: Annotated[float, Bounds(0, 1, below=True)] = 0.0
    split_field: Text | None = None

    def __post_init__(self) -> None:
        """Refuse settings of another type, out of range, or that don't fit each other.

        Raises:
            BadSetting: For the first of them.
        """
        check(self)
        if self.validation_fraction + self.test_fraction >= 1:
            raise BadSetting(
                "validation_fraction",
                f"is {self.validation_fraction} and test_fraction {self.test_fraction}, which leaves nothing to train "
                "on: choose two that are together below 1.",
            )


@dataclass(frozen=True)
class DataSettings:
    """The `data` group: what is offered, by value, and how it is read."""

    values: Mapping[str, ValueSource]
    limits: TokenLimits
    on_bad_row: OnBadRow = "error"
    max_train_pairs: Count | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated, and values whose names can't be folders' names."""
        for name in self.values if isinstance(self.values, Mapping) else ():
            check_name(name, where="A value in data.values")
        check(self)

    def load(
        self, names: Sequence[str], *, cluster: str | None = None
    ) -> tuple[dict[str, ValueData], dict[str, DataReport]]:
        """Read the data of the named values; the rows' field `cluster`, if given, says which prompts belong together.

        Raises:
            ValueError: If a name is not offered, or comes twice.
            BadRow: For the first unusable row, unless `on_bad_row` is "skip".
            EmptyData: If a split of a value has no pairs.
        """
        unknown = [name for name in names if name not in self.values]
        if unknown or not names or len(set(names)) < len(names):
            raise ValueError(
                f"value.names is {list(names)}: name at least one value, each once, of those that the data "
                f"offers: {', '.join(self.values)}."
            )
        loaded = {
            name: load_value(
                name,
                self.values[name],
                on_bad_row=self.on_bad_row,
                max_train_pairs=self.max_train_pairs,
                cluster=cluster,
            )
            for name in names
        }
        return {n: data for n, (data, _) in loaded.items()}, {n: report for n, (_, report) in loaded.items()}


def load_value(
    value: str,
    source: ValueSource,
    *,
    on_bad_row: OnBadRow = "error",
    max_train_pairs: int | None = None,
    cluster: str | None = None,
) -> tuple[ValueData, DataReport]:
    """Read a value's pairs and check them.

    `max_train_pairs` keeps a sample of the training pairs, chosen by the hash of their prompts. `cluster` names the
    field of the rows to evaluate on that says which prompts belong together.

    Raises:
        BadRow: For the first unusable row, unless `on_bad_row` is "skip".
        EmptyData: If no training pairs are left, or nothing to evaluate on.
    """
    with paused():
        return _load_value(value, source, on_bad_row=on_bad_row, max_train_pairs=max_train_pairs, cluster=cluster)


def _load_value(
    value: str, source: ValueSource, *, on_bad_row: OnBadRow, max_train_pairs: int | None, cluster: str | None
) -> tuple[ValueData, DataReport]:
    splits: dict[Split, list[PreferencePair]] = {split: [] for split in _SPLITS}
    skipped: list[BadRow] = []
    for held_out, reader in ((False, source.train), (True, source.test)):
        for row in reader.rows() if reader else ():
            try:
                for pair in read_pairs(row, source.format):
                    split: Split = "test" if held_out else _split_of(row, pair, source)
                    splits[split].append(pair if split == "train" else _in_cluster(pair, row, cluster))
            except BadRow as bad:
                if on_bad_row == "error":
                    raise
                skipped.append(bad)
    train = sample_pairs(splits["train"], max_train_pairs)
    data = ValueData(value, tuple(train), tuple(splits["validation"]), tuple(splits["test"]))
    for split, left in data.splits():
        if not left:
            raise EmptyData(
                f"'{value}' has no {split} pairs ({len(skipped)} rows were skipped): check the data config's "
                f"paths, format and fractions."
            )
    return data, check_value(data, skipped)


def read_pairs(row: Row | BadRow, form: PairFormat) -> list[PreferencePair]:
    """Read all pairs of a row, or none of them.

    Raises:
        BadRow: If the row, or one of its pairs, is unusable.
    """
    if isinstance(row, BadRow):
        raise row
    return list(form.pairs(row))


def _split_of(row: Row | BadRow, pair: PreferencePair, source: ValueSource) -> Split:
    if source.split_field is not None and isinstance(row, Row):
        return _named_split(row, source.split_field)
    place = int(prompt_id(pair.prompt), 16) / 16**16
    if place < source.test_fraction:
        return "test"
    return "validation" if place < source.test_fraction + source.validation_fraction else "train"


def _named_split(row: Row, name: str) -> Split:
    split = row.fields.get(name)
    if split not in _SPLITS:
        raise BadRow(row.origin, f"'{name}' is {split!r}, expected one of {', '.join(_SPLITS)}")
    return split


def _in_cluster(pair: PreferencePair, row: Row | BadRow, name: str | None) -> PreferencePair:
    """Label a pair with its row's cluster: text or a number, in a field that may lie within others (`meta.source`)."""
    if name is None or isinstance(row, BadRow):
        return pair
    label: object = row.fields
    for part in name.split("."):
        label = label.get(part) if isinstance(label, Mapping) else None
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        there = ", ".join(row.fields) or "none"
        raise BadRow(row.origin, f"the cluster field '{name}' holds no text or number (the row's fields: {there})")
    return replace(pair, cluster=str(label))


def sample_pairs(pairs: Iterable[PreferencePair], limit: int | None) -> list[PreferencePair]:
    """Choose `limit` pairs by the hash of their prompts; all of them, in their order, where it is None."""
    # The hash is reversed, so that the sample does not depend on which hashes validation took.
    ordered = list(pairs) if limit is None else sorted(pairs, key=lambda pair: prompt_id(pair.prompt)[::-1])
    return ordered[:limit]
