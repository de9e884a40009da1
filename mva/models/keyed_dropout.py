"""Dropout on what adapters read, whose mask is a function of keys alone.

A feature of a token is dropped where a number drawn for (token, module, feature) is below the rate, so that the mask
knows neither how pairs are laid out in rows and micro-batches nor which process computes them:

    y = x * keep / (1 - rate),   keep = [u(token key, module, feature) >= rate]
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from peft import PeftModel
from torch import Tensor, nn

from mva.counter_noise import bits
from mva.models.blocks import hung_on
from mva.models.lora import adapter_name
from mva.seeding import derive_seed


@dataclass(frozen=True)
class Dropout:
    """Drop the share `rate` of what a module's adapter reads.

    Shape: `token_keys` is int64 `(rows, length)`: what every token is called.
    """

    rate: float
    token_keys: Tensor

    def __call__(self, x: Tensor, module: str) -> Tensor:
        """Drop features of `x`, the input of the adapter at `module`. Shape: `(rows, length, d)`, or flattened."""
        keys = (self.token_keys ^ _key_of_module(module)).view(x.shape[:-1])
        dropped = bits(keys, x.shape[-1]) < self._limit
        return x.masked_fill(dropped, 0).mul_(1 / (1 - self._limit / 2**31))

    @property
    def _limit(self) -> int:
        return round(self.rate * 2**31)


@contextmanager
def dropping(model: PeftModel, name: str, dropout: Dropout) -> Iterator[None]:
    """Drop features of what the adapter `name` reads, inside the `with`."""
    name = adapter_name(name)
    layers = {m: layer for m, layer in model.get_base_model().named_modules() if name in getattr(layer, "lora_A", {})}

    @contextmanager
    def hooked() -> Iterator[None]:
        hooks = [layer.lora_A[name].register_forward_pre_hook(_on(m, dropout)) for m, layer in layers.items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    with hung_on(hooked):
        yield


def _on(module: str, dropout: Dropout) -> Callable[[nn.Module, tuple[Any, ...]], Tensor]:
    def drop(_lora_a: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        return dropout(inputs[0], module)

    return drop


@cache
def _key_of_module(name: str) -> int:
    return derive_seed(0, name)
