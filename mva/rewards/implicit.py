"""The reward that a value vector stands for: DPO's implicit reward (arXiv 2305.18290, Sec. 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mva.checks import Count, Positive, check
from mva.data.preference import Dialogue
from mva.data.tokenization import TokenizedPair, TokenLimits, tokenize_answers
from mva.models.backbone import Backbone
from mva.models.log_probs import make_batch, sequence_log_probs
from mva.models.store import key_of
from mva.policies.base import Policy
from mva.rewards.base import RewardContext


@dataclass(frozen=True)
class Implicit:
    """Score `beta (log pi_value(y | x) - log pi_reference(y | x))`, the value's own vector at coefficient 1.

    `beta` is the one that the vector was trained with; `batch_size` counts pairs of responses. A candidate
    that was scored by the vectors it is made of is not scored independently: use it to look, not to claim.

    Raises:
        ValueError: If `beta` is not positive.
    """

    beta: Positive
    limits: TokenLimits
    batch_size: Count = 16

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def build(self, context: RewardContext) -> "ImplicitReward":
        """Take the value's vector out of the policy.

        Raises:
            ValueError: If there is no vector of that value (yet).
        """
        known = [] if context.policy is None else list(context.policy.values)
        if context.policy is None or context.value not in known:
            raise ValueError(f"No vector of '{context.value}' to be its implicit reward: there are {known}.")
        return ImplicitReward(self, context.value, context.backbone, context.policy, context.vector_keys)


class ImplicitReward:
    """The implicit reward of one value's vector."""

    def __init__(
        self, spec: Implicit, value: str, backbone: Backbone, policy: Policy, vector_keys: Mapping[str, str]
    ) -> None:
        self.key = key_of(
            {
                "reward": "implicit",
                "value": value,
                "vector": vector_keys[value],
                "backbone": backbone.fingerprint,
                "template": backbone.template.key,
                "limits": [spec.limits.prompt, spec.limits.response],
                "beta": spec.beta,
            }
        )
        self._spec = spec
        self._backbone = backbone
        self._policy = policy
        self._one_hot = torch.tensor([float(name == value) for name in policy.values])

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score with the log-ratio. Shape: `(n,)`, in nats times beta."""
        scores = torch.empty(len(prompts), dtype=torch.float64)
        couples = _couples(prompts)
        for start in range(0, len(couples), self._spec.batch_size):
            batch = couples[start : start + self._spec.batch_size]
            first, second = self._log_ratios([self._tokenize(prompts[i], responses[i], responses[j]) for i, j in batch])
            scores[[i for i, _ in batch]] = first
            scores[[j for _, j in batch]] = second
        return self._spec.beta * scores

    @torch.no_grad()
    def _log_ratios(self, pairs: Sequence[TokenizedPair]) -> tuple[Tensor, Tensor]:
        backbone, able = self._backbone, self._backbone.capabilities
        model = backbone.model.eval()
        batch = make_batch(pairs, pad_id=backbone.pad_id, capabilities=able).to(backbone.device)
        reference = sequence_log_probs(model, batch, split_head=able.split_head)
        with self._policy.rows(self._one_hot.expand(len(batch.input_ids), -1)) as adapted:
            policy = sequence_log_probs(adapted, batch, split_head=able.split_head)
        first, second = (x.double().cpu() - y.double().cpu() for x, y in zip(policy, reference, strict=True))
        return first, second

    def _tokenize(self, prompt: Dialogue, first: str, second: str) -> TokenizedPair:
        exchange = tokenize_answers(prompt, (first, second), self._backbone.template, self._spec.limits)
        first_ids, second_ids = exchange.answers
        return TokenizedPair(exchange.prompt, first_ids, second_ids)


def _couples(prompts: Sequence[Dialogue]) -> list[tuple[int, int]]:
    """Couple responses to one prompt, which then share a row; a response without a partner is its own."""
    by_prompt: dict[Dialogue, list[int]] = {}
    for k, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(k)
    return [
        (group[k], group[min(k + 1, len(group) - 1)]) for group in by_prompt.values() for k in range(0, len(group), 2)
    ]
