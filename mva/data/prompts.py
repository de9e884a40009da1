"""The prompts that candidates are scored on."""

from collections.abc import Mapping
from itertools import chain, zip_longest

from mva.data.preference import Dialogue, Split, ValueData, prompt_id
from mva.data.sources.base import BadRow


def evaluation_prompts(data: Mapping[str, ValueData], split: Split, limit: int | None = None) -> tuple[Dialogue, ...]:
    """Pool the values' distinct prompts of a split, taking turns between the values.

    The order within a value is that of the prompts' hashes, so that the first n are a fair sample, the same
    in every run. A prompt that any value trains on is left out.
    """
    trained = {prompt_id(pair.prompt) for value in data.values() for pair in value.train}
    per_value = []
    for value in data.values():
        prompts = {prompt_id(pair.prompt): pair.prompt for pair in dict(value.splits())[split]}
        per_value.append([prompts[key] for key in sorted(prompts) if key not in trained])
    turns = chain.from_iterable(zip_longest(*per_value))
    pooled = {prompt_id(prompt): prompt for prompt in turns if prompt is not None}
    return tuple(pooled.values())[:limit]


def check_clusters(data: Mapping[str, ValueData], split: Split, limit: int | None = None) -> None:
    """Check that the prompts that candidates are scored on are of at least two clusters, where there are any.

    Raises:
        BadRow: If a prompt stands in two clusters.
        ValueError: If all are of one cluster.
    """
    clusters = prompt_clusters(data, split)
    labels = {clusters[prompt_id(prompt)] for prompt in evaluation_prompts(data, split, limit) if clusters}
    if len(labels) == 1:
        raise ValueError(
            f"All {split} prompts are of the cluster {min(labels)!r}, and a standard error needs at least two: choose "
            "another field as evaluation.cluster, or leave it null."
        )


def prompt_clusters(data: Mapping[str, ValueData], split: Split) -> dict[str, str]:
    """Label each prompt of a split, by id, with its cluster; empty where the data was read without clusters.

    Raises:
        BadRow: If a prompt stands in two clusters.
    """
    clusters: dict[str, str] = {}
    for value in data.values():
        for pair in dict(value.splits())[split]:
            if not pair.cluster:
                continue
            label = clusters.setdefault(prompt_id(pair.prompt), pair.cluster)
            if label != pair.cluster:
                raise BadRow(
                    pair.origin,
                    f"its prompt stands in the cluster '{pair.cluster}' here and in '{label}' elsewhere: give each "
                    "prompt one",
                )
    return clusters
