"""The held-out preference pairs of an evaluation, by value: what they must be, and what scores by them are called."""

from collections.abc import Mapping, Sequence
from typing import Any

from mva.data.ids_json import ids_json
from mva.data.preference import Split, prompt_id
from mva.data.tokenization import TokenizedPair
from mva.fingerprint import pieces_fingerprint
from mva.models.store import key_of

Pairs = Mapping[str, Sequence[TokenizedPair]]
HELD_OUT: tuple[Split, ...] = ("validation", "test")


def check_pairs(pairs: Pairs, split: str) -> None:
    """Check that every value has pairs on two prompts or more.

    Raises:
        ValueError: For the first that has not.
    """
    for value, of_value in pairs.items():
        n_prompts = len({prompt_of(pair) for pair in of_value})
        if n_prompts < 2:
            raise ValueError(
                f"'{value}' has {split} pairs on {n_prompts} prompts, and a standard error needs at least two: give "
                "more data, raise evaluation.n_pairs, or choose evaluation.by=responses."
            )


def pair_keys(pairs: Pairs, *, base: str, beta: float) -> dict[str, str]:
    """Address what scores by these pairs mean, by value: two scores with one key compare."""
    keys = {}
    for value, of_value in pairs.items():
        spec = {"base": base, "beta": beta, "pairs": pieces_fingerprint(ids_json(of_value))}
        if any(pair.source is not None and pair.source.cluster for pair in of_value):
            spec["clusters"] = [prompt_of(pair) for pair in of_value]
        keys[value] = key_of(spec)
    return keys


def pair_record(splits: Mapping[Split, Pairs], *, base: str, beta: float) -> dict[str, Any]:
    """Describe what scores by the pairs of `HELD_OUT` stand on: the content of pairs.json.

    Returns:
        `beta`, and `values`: for each `key` (equal keys compare) and by split `n_pairs` and `n_prompts`.
    """
    keys = {split: pair_keys(pairs, base=base, beta=beta) for split, pairs in splits.items()}
    values = {
        value: {
            "key": key_of([keys[split][value] for split in HELD_OUT]),
            **{split: _numbers(pairs[value]) for split, pairs in splits.items()},
        }
        for value in splits["test"]
    }
    return {"beta": beta, "values": values}


def prompt_of(pair: TokenizedPair) -> str:
    """Name the prompt of a pair that was made from text; where prompts come in clusters, its cluster."""
    assert pair.source is not None
    return pair.source.cluster or prompt_id(pair.source.prompt)


def _numbers(pairs: Sequence[TokenizedPair]) -> dict[str, int]:
    return {"n_pairs": len(pairs), "n_prompts": len({prompt_of(pair) for pair in pairs})}
