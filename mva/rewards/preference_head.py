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
from mva.data.preference import prompt_id
from mva.data.tokenization import TokenLimits
from mva.fingerprint import added, fingerprint, kind
from mva.models.store import key_of
from mva.records import read_json
from mva.rewards.base import RewardContext
from mva.rewards.bootstrap import differences, resampled_weights, standardised
from mva.rewards.features import HiddenFeatures, Pooling, Text
from mva.rewards.fitted_head import FittedHead, HeadEnsemble, Report
from mva.shapes import named, number

Array = NDArray[np.float64]


@kind("mva.rewards.preference_head.PreferenceHead")
@dataclass(frozen=True)
class PreferenceHead:
    """Fit `P(chosen > rejected) = sigmoid(w . (f_chosen - f_rejected))` with an L2 penalty on `w`.

    `f` are hidden states of the backbone without any adapter (see `HiddenFeatures`), standardised over the
    training responses. The penalty `||w||^2 / (2C)` is chosen from `inverse_penalties` (the C) by the
    log-likelihood of cross-validation folds of the training pairs; pairs of one prompt share a fold.
    Everything but `batch_size`, which only says how much is computed at once, and `members` enters the head's key, with
    the backbone, its template and the pairs.

    Of `members` heads the first is the one on all pairs, which alone scores; the others are fitted with its penalty to
    prompts drawn with replacement (a bootstrap in which the pairs of a prompt stay together): where they disagree, the
    score is unsure.

    Raises:
        ValueError: If `layers` are not fractions of the depth.
    """

    layers: Annotated[Sequence[Annotated[float, Bounds(0, 1, above=True)]], FILLED]
    pooling: Annotated[Sequence[Pooling], FILLED]
    inverse_penalties: Annotated[Sequence[Positive], FILLED]
    limits: TokenLimits
    folds: Annotated[int, Bounds(2, 1000)] = 5
    batch_size: Count = 32
    members: Annotated[int, Bounds(1, 1000)] = added(8)

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def build(self, context: RewardContext) -> FittedHead:
        """Fit the head on the training pairs of `context.data`, or take it from the store.

        Raises:
            FloatingPointError: If features or head are not finite.
            ValueError: If there are fewer distinct training prompts than folds.
        """
        head = self._head(context, self._features_of(context))
        return head if self.members == 1 else self._ensemble(context, head)

    def _head(self, context: RewardContext, features: HiddenFeatures) -> FittedHead:
        key = key_of(self._describe(context))
        with context.store.making("rewards", key, what=f"the reward head of '{context.value}'"):
            folder = context.store.get("rewards", key)
            if folder is None:
                fit = self._fit(context, features)
                _check_finite(context.value, *fit)
                folder = context.store.put("rewards", key, lambda draft: _write(draft, *fit))
        return _read(folder, key, features)

    def _ensemble(self, context: RewardContext, head: FittedHead) -> HeadEnsemble:
        """Fit the other members; they are stored under another address, so that the head's address stays the same."""
        key, store = key_of({"ensemble": head.key, "members": self.members}), context.store
        with store.making("rewards", key, what=f"the ensemble of '{context.value}'"):
            folder = store.get("rewards", key)
            if folder is None:
                members = self._members(context, head)
                folder = store.put("rewards", key, lambda draft: save_file(members, draft / "members.safetensors"))
        tensors = load_file(folder / "members.safetensors")
        return HeadEnsemble(
            head.key, head.features, head.weight, head.offset, head.report, tensors["weights"], tensors["offsets"]
        )

    def _members(self, context: RewardContext, head: FittedHead) -> dict[str, Tensor]:
        x = _training_features(context, head.features)
        others = resampled_weights(
            x,
            [prompt_id(pair.prompt) for pair in context.data.train],
            inverse_penalty=head.report["inverse_penalty"],
            n=self.members - 1,
            seed=int(head.key[:16], 16),
        )
        with context.bar(f"Ensemble of '{context.value}'", self.members) as advance:
            weights, offsets = [head.weight], [head.offset]
            advance(1)
            for other in others:
                weight, offset = standardised(x, other)
                weights.append(torch.from_numpy(weight))
                offsets.append(offset)
                advance(1)
        members = {"weights": torch.stack(weights), "offsets": torch.tensor(offsets, dtype=torch.float64)}
        _check_finite(context.value, members["weights"], members["offsets"], {})
        return members

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
        x = _training_features(context, features)
        scale = np.maximum(x.std(axis=0), 1e-12)
        search = self._search(x / scale, [prompt_id(pair.prompt) for pair in pairs])
        weight, offset = standardised(x, search.best_estimator_.coef_[0] / scale)
        words = [len(response.split()) for _, response in _training_texts(context)]
        report = {
            "inverse_penalty": 2 * search.best_params_["C"],
            "cross_validated_log_loss": -float(search.best_score_),
            "length_correlation": _correlation(x @ weight - offset, np.array(words, dtype=float)),
        }
        return torch.from_numpy(weight), torch.tensor(offset, dtype=torch.float64), report

    def _search(self, x: Array, groups: Sequence[str]) -> GridSearchCV:
        """Choose the penalty by cross-validation, and fit with it."""
        rows, labels = differences(x)
        search = GridSearchCV(
            LogisticRegression(fit_intercept=False, max_iter=10_000),
            {"C": [c / 2 for c in self.inverse_penalties]},
            scoring="neg_log_loss",
            cv=GroupKFold(self.folds),
        )
        return search.fit(rows, labels, groups=[*groups, *groups])


def _training_texts(context: RewardContext) -> list[Text]:
    """List the training pairs' texts: all chosen responses, then all rejected ones."""
    pairs = context.data.train
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    return list(zip([pair.prompt for pair in pairs] * 2, responses, strict=True))


def _training_features(context: RewardContext, features: HiddenFeatures) -> Array:
    texts = _training_texts(context)
    with context.bar(f"Features for '{context.value}'", len(set(texts))) as advance:
        return features(texts, advance=advance).numpy()


def _correlation(x: Array, y: Array) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else 0.0


def _check_finite(value: str, weight: Tensor, offset: Tensor, report: Report) -> None:
    if not (torch.isfinite(weight).all() and torch.isfinite(offset).all() and all(map(math.isfinite, report.values()))):
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
