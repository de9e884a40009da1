"""Random numbers as a function of keys and places: no state, no order, the same on every device.

A torch generator hands out a stream, so that a number depends on how many were drawn before it. Here the number at
place `j` of key `k` is a hash of (k, j) alone (a counter-based generator, as in Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"). Whoever cuts the work into other batches, or spreads it over processes, sees the same.

The key's two halves enter Chris Wellons' 32-bit mixer `lowbias32` at different depths; keys themselves are mixed by
SplitMix64's finaliser (Steele et al. 2014), so that keys in a row are as good as random ones. It is not cryptographic.
"""

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: what Weyl sequences add
_MIX_64 = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_CACHED = 2**17  # numbers at a time on a CPU: their scratch stays in the caches
_TO_UNIT = 2.0**-31 * (1 - 2.0**-24)  # the largest number stays below 1 after rounding


def combined(*parts: Tensor | int) -> Tensor:
    """Make keys out of whole numbers: seeds, steps, row numbers. Another order of the parts gives other keys.

    Shape: int64, the parts broadcast against each other.
    """
    keys = torch.zeros((), dtype=torch.int64)
    for part in parts:
        if isinstance(part, Tensor):
            keys = keys.to(part.device)
        keys = _mixed_64((keys + _signed(_GOLDEN, 64)) ^ part)
    return keys


def bits(keys: Tensor, size: int) -> Tensor:
    """Draw `size` whole numbers a key, evenly from [0, 2^31).

    Shape: `keys` is int64 `(...)`, the result int32 `(..., size)`.

    Raises:
        ValueError: If the keys are no int64.
    """
    if keys.dtype != torch.int64:
        raise ValueError(f"Keys are int64, not {keys.dtype}.")
    mixed = _mixed_64(keys + _signed(_GOLDEN, 64)).reshape(-1, 1)
    places = torch.arange(size, dtype=torch.int32, device=keys.device) * _signed(_GOLDEN >> 32, 32)
    drawn = torch.empty((len(mixed), size), dtype=torch.int32, device=keys.device)
    n_keys = max(1, _CACHED // max(1, size)) if keys.device.type == "cpu" else max(1, len(mixed))
    scratch = torch.empty_like(drawn[:n_keys])
    for x, of_keys in zip(drawn.split(n_keys), mixed.split(n_keys), strict=True):
        torch.add(places, of_keys.to(torch.int32), out=x)
        _mix_32(x, (of_keys >> 32).to(torch.int32), scratch[: len(x)])
    return drawn.view(*keys.shape, size)


def uniform(keys: Tensor, size: int) -> Tensor:
    """Draw `size` numbers a key, evenly from (0, 1); near 0 they are 2^-31 apart, near 1 as far as float32 knows.

    So where a tail matters it belongs near 0: `-log(-log1p(-u))` reaches a Gumbel variable's upper tail.

    Shape: `keys` is int64 `(...)`, the result float32 `(..., size)`.

    Raises:
        ValueError: If the keys are no int64.
    """
    drawn = bits(keys, size)
    numbers = drawn.view(torch.float32).copy_(drawn)  # in place: fresh memory would take longer than the hash
    return numbers.add_(0.5).mul_(_TO_UNIT)


def _mix_32(x: Tensor, high: Tensor, scratch: Tensor) -> None:
    _fold(x, 16, scratch)
    x *= 0x7FEB352D
    x ^= high
    _fold(x, 15, scratch)
    x *= _signed(0x846CA68B, 32)
    _fold(x, 16, scratch)
    x &= 2**31 - 1


def _fold(x: Tensor, shift: int, scratch: Tensor) -> None:
    torch.bitwise_right_shift(x, shift, out=scratch)
    scratch &= (1 << (32 - shift)) - 1  # torch's shift drags the sign along
    x ^= scratch


def _mixed_64(x: Tensor) -> Tensor:
    for shift, factor in _MIX_64:
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * _signed(factor, 64)
    return x


def _signed(number: int, width: int) -> int:
    """Read a number's lowest `width` bits as torch's integers do: products and sums wrap around."""
    number &= (1 << width) - 1
    return number - (1 << width) if number >> (width - 1) else number
