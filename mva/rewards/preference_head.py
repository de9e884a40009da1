"""A Bradley-Terry linear head on frozen features, fitted on a value's own preference pairs."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from torch import Tensor

from mva.checks import FILLED, Bounds, Count, Positive, check
from mva.data.preference import Dialogue, prompt_id
from mva.data.tokenization import TokenLimits
from mva.fingerprint import fingerprint
from mva.models.store import key_of
from mva.records import read_json
from mva.rewards.base import RewardContext
from mva.rewards.features import HiddenFeatures, Pooling
from mva.shapes import named, number

Array = NDArray[np.float64]
Report = dict[str, float]


@dataclass(frozen=True)
class FittedHead:
    """The score `w . f(prompt, response) - offset`, in units of the training responses' standard deviation.

    The training responses have mean 0 and standard deviation 1. `report` holds the chosen `inverse_penalty`, the
    `cross_validated_log_loss` on the training pairs (nats a pair), and the `length_correlation` between the score and
    the number of words (a value whose chosen responses are longer teaches the head length).
    """

    key: str
    features: HiddenFeatures
    weight: Tensor
    offset: float
    report: Report

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score with the linear head. Shape: `(n,)`."""
        return self.features(list(zip(prompts, responses, strict=True))) @ self.weight - self.offset


@dataclass(frozen=True)
class PreferenceHead:
    """Fit `P(chosen > rejected) = sigmoid(w . (f_chosen - f_rejected))` with an L2 penalty on `w`.

    `f` are hidden states of the backbone without any adapter (see `HiddenFeatures`), standardised over the
    training responses. The penalty `||w||^2 / (2C)` is chosen from `inverse_penalties` (the C) by the
    log-likelihood of cross-validation folds of the training pairs; pairs of one prompt share a fold.
    Everything but `batch_size`, which only says how much is computed at once, enters the head's key, with the
    backbone, its template and the pairs.

    Raises:
        ValueError: If `layers` are not fractions of the depth.
    """

    layers: Annotated[Sequence[Annotated[float, Bounds(0, 1, above=True)]], FILLED]
    pooling: Annotated[Sequence[Pooling], FILLED]
    inverse_penalties: Annotated[Sequence[Positive], FILLED]
    limits: TokenLimits
    folds: Annotated[int, Bounds(2, 1000)] = 5
    batch_size: Count = 32

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def build(self, context: RewardContext) -> FittedHead:
        """Fit the head on the training pairs of `context.data`, or take it from the store.

        Raises:
            FloatingPointError: If features or head are not finite.
            ValueError: If there are fewer distinct training prompts than folds.
        """
        key = key_of(self._describe(context))
        features = self._features_of(context)
        with context.store.making("rewards", key, what=f"the reward head of '{context.value}'"):
            folder = context.store.get("rewards", key)
            if folder is None:
                fit = self._fit(context, features)
                _check_finite(context.value, *fit)
                folder = context.store.put("rewards", key, lambda draft: _write(draft, *fit))
        return _read(folder, key, features)

    def _describe(self, context: RewardContext) -> dict[str, object]:
        return {
            "reward": "preference_head",
            "backbone": context.backbone.fingerprint,
            "template": context.backbone.template.key,
            "pairs": fingerprint([[pair.prompt, pair.chosen, pair.rejected] for pair in context.data.train]),
            "layers": list(self.layers),
            "pooling": list(self.pooling),
            "limits": [self.limits.prompt, self.limits.response],
            "inverse_penalties": list(self.inverse_penalties),
            "folds": self.folds,
        }

    @cached_property
    def _features_by_backbone(self) -> dict[tuple[str, Path], HiddenFeatures]:
        return {}

    def _features_of(self, context: RewardContext) -> HiddenFeatures:
        """Share one extractor among the heads of one backbone: they often score the same texts in turn."""
        layers, pooling = tuple(self.layers), tuple(self.pooling)
        backbone, store = context.backbone, context.store
        features = HiddenFeatures(backbone, layers, pooling, self.limits, self.batch_size, store)
        return self._features_by_backbone.setdefault((backbone.fingerprint, store.root), features)

    def _fit(self, context: RewardContext, features: HiddenFeatures) -> tuple[Tensor, Tensor, Report]:
        pairs = context.data.train
        if len({pair.prompt for pair in pairs}) < self.folds:
            raise ValueError(
                f"The head of '{context.value}' needs training pairs of at least {self.folds} prompts: "
                "give more data, or set reward.folds lower."
            )
        responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        texts = list(zip([pair.prompt for pair in pairs] * 2, responses, strict=True))
        with context.bar(f"Features for '{context.value}'", len(set(texts))) as advance:
            x = features(texts, advance=advance).numpy()
        scale = np.maximum(x.std(axis=0), 1e-12)
        search = self._search(x / scale, [prompt_id(pair.prompt) for pair in pairs])
        raw = x @ (weight := search.best_estimator_.coef_[0] / scale)
        unit = max(raw.std(), 1e-12)
        weight, offset, scores = weight / unit, raw.mean() / unit, (raw - raw.mean()) / unit
        report = {
            "inverse_penalty": 2 * search.best_params_["C"],
            "cross_validated_log_loss": -float(search.best_score_),
            "length_correlation": _correlation(scores, np.array([len(r.split()) for r in responses], dtype=float)),
        }
        return torch.from_numpy(weight), torch.tensor(offset), report

    def _search(self, x: Array, groups: Sequence[str]) -> GridSearchCV:
        """Fit without an intercept on differences of both signs: twice the Bradley-Terry likelihood."""
        chosen, rejected = np.split(x, 2)
        differences = np.concatenate([chosen - rejected, rejected - chosen])
        labels = np.repeat([1, 0], len(chosen))
        search = GridSearchCV(
            LogisticRegression(fit_intercept=False, max_iter=10_000),
            {"C": [c / 2 for c in self.inverse_penalties]},
            scoring="neg_log_loss",
            cv=GroupKFold(self.folds),
        )
        return search.fit(differences, labels, groups=[*groups, *groups])


def _correlation(x: Array, y: Array) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else 0.0


def _check_finite(value: str, weight: Tensor, offset: Tensor, report: Report) -> None:
    if not (torch.isfinite(weight).all() and torch.isfinite(offset) and all(map(math.isfinite, report.values()))):
        raise FloatingPointError(
            f"The reward head of '{value}' is not finite: its features differ too much in size, or hardly at all. "
            f"Choose other reward.layers."
        )


def _write(folder: Path, weight: Tensor, offset: Tensor, report: Report) -> None:
    save_file({"weight": weight, "offset": offset}, folder / "head.safetensors")
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def _read(folder: Path, key: str, features: HiddenFeatures) -> FittedHead:
    head = load_file(folder / "head.safetensors")
    report = read_json(folder / "report.json", named(number), mend=f"remove {folder}: it is made again")
    return FittedHead(key, features, head["weight"], float(head["offset"]), report)
