"""What an evaluation asks of each candidate: so many responses to every prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mva.data.preference import Dialogue
from mva.data.template import Template
from mva.data.tokenization import generation_prompt_ids
from mva.engines.base import Request
from mva.evaluation.generation import GenerationSpec
from mva.statistics.rewards import by_cluster


class Sample(NamedTuple):
    """Names a response of a candidate: its number, from 0, among those to the prompt of this id."""

    prompt: str
    number: int


@dataclass(frozen=True)
class Asking:
    """The responses that are wanted: `samples` to each of the `prompts`, which are given by their ids.

    All candidates see the same random numbers in the same sample, so that their differences are paired. `clusters` are
    the prompts' labels, by id, where several prompts belong together (empty: each is independent of the others).
    """

    prompts: Mapping[str, Dialogue]
    samples: int
    clusters: Mapping[str, str]
    generation: GenerationSpec
    template: Template

    def describe(self) -> dict[str, object]:
        """List what scores and standard errors depend on; new settings at their defaults leave old keys as they are."""
        asked: dict[str, object] = {"prompts": list(self.prompts)}
        if self.samples > 1:
            asked["samples"] = self.samples
        if self.clusters:
            asked["clusters"] = self._labels
        return asked

    def clustered(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Let each cluster count as one prompt. Shape: `(n, n_prompts, k) -> (n, n_prompts or n_clusters, k)`."""
        return by_cluster(rewards, self._labels) if self.clusters else rewards

    @property
    def _labels(self) -> list[str]:
        return [self.clusters[prompt] for prompt in self.prompts]

    @cached_property
    def all(self) -> tuple[Sample, ...]:
        """List them, prompt after prompt, so that an engine reads a prompt once for its samples."""
        return tuple(Sample(*pair) for pair in product(self.prompts, range(self.samples)))

    def request(self, identifier: int, coefficients: tuple[float, ...], sample: Sample) -> Request:
        """Ask for a sample."""
        dialogue = self.prompts[sample.prompt]
        return Request(
            id=identifier,
            coefficients=coefficients,
            prompt=self._tokens[sample.prompt],
            dialogue=dialogue,
            seed=self.generation.seed_of(*sample),
        )

    @cached_property
    def _tokens(self) -> dict[str, tuple[int, ...]]:
        limit = self.generation.max_prompt_tokens
        return {
            identifier: tuple(generation_prompt_ids(prompt, self.template, limit=limit))
            for identifier, prompt in self.prompts.items()
        }
