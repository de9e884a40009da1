"""What a preference loss is, and what the settings of all of them must be."""

from typing import Protocol

from torch import Tensor


class PreferenceLoss(Protocol):
    """A loss on preference pairs, as a pure function of sequence log-probs, with the field's signature.

    Losses are frozen dataclasses: their fields are part of a value vector's identity. A loss on log-probs that
    are averaged over a response's tokens says so with `length_normalised: ClassVar[bool] = True`; one in which the loss
    of a pair depends on the batch's other pairs with `of_the_whole_batch: ClassVar[bool] = True`.
    """

    def __call__(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compare the policy with the reference policy on each pair.

        Args:
            policy_chosen: `log pi(chosen | prompt)`, summed over the response's tokens (averaged, if the loss is
                length-normalised), in nats. Shape: `(batch,)`.
            policy_rejected: The same of the rejected response. Shape: `(batch,)`.
            reference_chosen: `log pi_reference(chosen | prompt)`, summed or averaged alike. Shape: `(batch,)`.
            reference_rejected: The same of the rejected response. Shape: `(batch,)`.

        Returns:
            `(losses, chosen_rewards, rejected_rewards)`, the implicit rewards detached.
            Shape: `(batch,)` each.
        """
        ...


def length_normalised(loss: PreferenceLoss) -> bool:
    """Say whether `loss` takes log-probs that are averaged over the tokens; the field's convention is their sum."""
    return bool(getattr(loss, "length_normalised", False))


def of_the_whole_batch(loss: PreferenceLoss) -> bool:
    """Say whether a pair's loss depends on the other pairs of its batch, which then can't be computed in parts."""
    return bool(getattr(loss, "of_the_whole_batch", False))
