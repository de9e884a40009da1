"""The preference pairs that candidates are scored on."""

from collections.abc import Mapping

from mva.data.preference import PreferencePair, Split, ValueData, prompt_id


def evaluation_pairs(
    data: Mapping[str, ValueData], split: Split, limit: int | None = None
) -> dict[str, tuple[PreferencePair, ...]]:
    """List each value's pairs of a split, at most `limit` a value.

    They come in the order of their prompts' hashes, so that the first n are a fair sample, the same in every run. A
    pair whose prompt any value trains on is left out.
    """
    trained = {prompt_id(pair.prompt) for value in data.values() for pair in value.train}
    chosen = {}
    for name, value in data.items():
        named = [(prompt_id(pair.prompt), pair) for pair in dict(value.splits())[split]]
        unseen = [(identifier, pair) for identifier, pair in named if identifier not in trained]
        unseen.sort(key=lambda entry: entry[0])
        chosen[name] = tuple(pair for _, pair in unseen[:limit])
    return chosen
