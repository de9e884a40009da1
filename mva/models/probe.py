"""What the backbone feeds into its modules while it reads text."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from mva.data.tokenization import TokenizedPair
from mva.models.backbone import Backbone

TOKENS_A_PAIR = 8


@torch.no_grad()
def module_inputs(
    backbone: Backbone, pairs: Sequence[TokenizedPair], modules: Collection[str], *, tokens: int
) -> dict[str, Tensor]:
    """Read chosen responses and keep the inputs of `modules` at up to `tokens` of their positions.

    Up to 8 positions, evenly spaced, are taken of each response, of as many pairs as it takes.

    Returns:
        By module. Shape: `(tokens, d_in)` each, on the backbone's device; fewer rows where the pairs are too few.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}
    named, missing = dict(backbone.model.named_modules()), tokens
    for pair in pairs:
        if not missing:
            break
        first, end = len(pair.prompt), len(pair.prompt) + len(pair.chosen)
        count = min(TOKENS_A_PAIR, len(pair.chosen), missing)
        positions = torch.linspace(first, end - 1, count).long()
        with ExitStack() as hooks:
            for name, kept in seen.items():
                hooks.callback(named[name].register_forward_pre_hook(_keep(kept, positions)).remove)
            backbone.model(torch.tensor([pair.prompt + pair.chosen], device=backbone.device), use_cache=False)
        missing -= count
    return {name: torch.cat(kept) for name, kept in seen.items()}


def _keep(kept: list[Tensor], positions: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        kept.append(x.reshape(-1, x.shape[-1])[positions.to(x.device)].clone())

    return keep
