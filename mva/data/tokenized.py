"""One value's pairs, ready for training: what the model's template and the limits make of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mva.data.batched import Tokens, tokenize_each
from mva.data.checks import EmptyData, usable_after_truncation
from mva.data.collector import paused
from mva.data.ids_json import ids_json
from mva.data.loading import OnBadRow
from mva.data.preference import PreferencePair, ValueData
from mva.data.rendering import RefusedDialogue, Rendering
from mva.data.sources.base import BadRow
from mva.data.template import Template
from mva.data.tokenization import TokenizedPair, TokenLimits
from mva.fingerprint import pieces_fingerprint

Tokenize = Callable[[Sequence[PreferencePair], Template, TokenLimits], Iterable[Tokens]]
_N_EXAMPLES = 3


@dataclass(frozen=True)
class TokenizedValue:
    """The pairs to train on and to watch.

    `skipped` lists the pairs that can't be used: the template refuses them, their prompt does not fit, or their
    responses became identical when they were cut.
    """

    train: Sequence[TokenizedPair]
    validation: Sequence[TokenizedPair]
    skipped: Sequence[BadRow] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Hash the ids of the training pairs."""
        return pieces_fingerprint(ids_json(self.train))

    @property
    def n_cut(self) -> int:
        """Count the pairs that lost tokens to the limits."""
        return sum(pair.cut for pair in [*self.train, *self.validation])

    @property
    def n_spanning(self) -> int:
        """Count the pairs in which a token spans the boundary of prompt and response."""
        return sum(pair.spans for pair in [*self.train, *self.validation])

    def summary(self) -> list[str]:
        """Describe in sentences what tokenising did to the pairs; no lines if it changed nothing."""
        total = len(self.train) + len(self.validation)
        lines = examples(self.skipped)
        if self.n_cut:
            lines.append(f"{self.n_cut} of {total} pairs were cut to data.limits.")
        if self.n_spanning:
            lines.append(
                f"In {self.n_spanning} of {total} pairs a token spans the boundary of prompt and response: there the "
                "model never generates from the very ids that it is trained on."
            )
        return lines


def tokenize_value(
    data: ValueData,
    template: Template,
    limits: TokenLimits,
    *,
    on_bad_row: OnBadRow,
    tokenize: Tokenize = tokenize_each,
) -> TokenizedValue:
    """Tokenise training and validation pairs; `tokenize` may keep their ids.

    Raises:
        BadRow: For the first pair that can't be used, unless `on_bad_row` is "skip".
        EmptyData: If no pair is left.
    """
    train, bad_train = tokenize_usable(data.train, template, limits, tokenize=tokenize)
    validation, bad_validation = tokenize_usable(data.validation, template, limits, tokenize=tokenize)
    skipped = [*bad_train, *bad_validation]
    if skipped and on_bad_row == "error":
        raise skipped[0]
    if not train or not validation:
        reason = f", for instance {skipped[0]}" if skipped else ""
        raise EmptyData(f"'{data.value}' has no pairs left after tokenising{reason}.")
    return TokenizedValue(train, validation, skipped)


def renderable(data: ValueData, rendering: Rendering, *, on_bad_row: OnBadRow) -> tuple[ValueData, list[BadRow]]:
    """Leave out the pairs, of all splits, whose dialogue the chat template refuses.

    Raises:
        BadRow: For the first such pair, unless `on_bad_row` is "skip".
        EmptyData: If a split has no pair left.
    """
    parted = {split: rendered_pairs(pairs, rendering) for split, pairs in data.splits()}
    splits = {split: pairs for split, (pairs, _) in parted.items()}
    skipped = [bad for _, refused in parted.values() for bad in refused]
    if skipped and on_bad_row == "error":
        raise skipped[0]
    for split, pairs in splits.items():
        if not pairs:
            raise EmptyData(f"'{data.value}' has no {split} pairs that the model's chat template takes: {skipped[0]}.")
    if not skipped:
        return data, []
    usable = replace(data, train=splits["train"], validation=splits["validation"], test=splits["test"])
    return usable, skipped


def rendered_pairs(
    pairs: Iterable[PreferencePair], rendering: Rendering
) -> tuple[tuple[PreferencePair, ...], list[BadRow]]:
    """Part the pairs whose dialogue the chat template takes from those that it refuses."""
    taken: list[PreferencePair] = []
    refused: list[BadRow] = []
    for pair in pairs:
        try:
            rendering.check(pair.prompt)
        except RefusedDialogue as error:
            refused.append(BadRow(pair.origin, str(error)))
        else:
            taken.append(pair)
    return tuple(taken), refused


def examples(skipped: Sequence[BadRow]) -> list[str]:
    """Quote the first skipped rows, and count the others."""
    lines = [str(bad) for bad in skipped[:_N_EXAMPLES]]
    if len(skipped) > _N_EXAMPLES:
        lines.append(f"... and {len(skipped) - _N_EXAMPLES} more pairs that can't be used.")
    return lines


def tokenize_usable(
    pairs: Sequence[PreferencePair], template: Template, limits: TokenLimits, *, tokenize: Tokenize = tokenize_each
) -> tuple[list[TokenizedPair], list[BadRow]]:
    """Tokenise pairs; returns the usable ones, and a `BadRow` for each of the others."""
    tokenized: list[TokenizedPair] = []
    sources: list[PreferencePair] = []
    refused: list[BadRow] = []
    with paused():
        for pair, tokens in zip(pairs, tokenize(pairs, template, limits), strict=True):
            if isinstance(tokens, BadRow):
                refused.append(tokens)
            else:
                tokenized.append(tokens)
                sources.append(pair)
    usable, identical = usable_after_truncation(sources, tokenized, limits)
    return usable, [*refused, *identical]
