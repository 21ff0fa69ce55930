"""Random fields by counting: the number at a voxel is a pure function of seed and voxel index.

Unlike a generator's stream, a field is the same on every device. The hash is the 32-bit finalizer
"lowbias32" (C. Wellons, hash prospector) of numbers that step through an arithmetic progression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flare_train.randomness import stream_seed

__all__ = ["normal_field", "uniform_field"]


def uniform_field(shape: Sequence[int], *, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Return independent numbers, evenly distributed on [0, 1).

    Parameters
    ----------
    shape : sequence of int
        At most 2**31 values in all.
    seed : int
        Names the field.
    device : torch.device or str, optional
        Equal bits on all.

    Returns
    -------
    float32 tensor
        Multiples of 2**-24.

    Examples
    --------
    >>> bool((uniform_field((2, 3), seed=4) == uniform_field((6,), seed=4).view(2, 3)).all())
    True
    """
    count = math.prod(shape)
    return _uniform(count, seed, device).view(*shape)


def normal_field(shape: Sequence[int], *, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Return independent standard normal numbers, by Box and Muller's transform.

    Parameters
    ----------
    shape : sequence of int
        At most 2**31 values in all.
    seed : int
        Names the field.
    device : torch.device or str, optional
        The same numbers on all, up to rounding.

    Returns
    -------
    float32 tensor

    Examples
    --------
    >>> field = normal_field((50, 50, 50), seed=0)
    >>> abs(field.mean().item()) < 0.01, round(field.std().item(), 2)
    (True, 1.0)
    """
    count = math.prod(shape)
    half = (count + 1) // 2
    uniform = _uniform(2 * half, seed, device)
    # 1 - u lies in (0, 1]: its logarithm is finite.
    radius = uniform[:half].neg_().add_(1.0).log_().mul_(-2.0).sqrt_()
    angle = uniform[half:].mul_(2 * math.pi)
    field = torch.empty(2 * half, device=device)
    torch.cos(angle, out=field[:half]).mul_(radius)
    torch.sin(angle, out=field[half:]).mul_(radius)
    return field[:count].view(*shape)


def _uniform(count: int, seed: int, device: torch.device | str) -> Tensor:
    word = stream_seed(seed, "field")
    bits = torch.arange(count, dtype=torch.int32, device=device)
    # Each field walks through all 32-bit numbers with a step and from a begin of its own.
    bits.mul_(_signed(word >> 31 | 1)).add_(_signed(word))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits.bitwise_xor_(_shifted(bits, shift)).mul_(_signed(factor))
    bits.bitwise_xor_(_shifted(bits, 16))
    return bits.bitwise_and_(0xFFFFFF).to(torch.float32).mul_(2.0**-24)


def _shifted(bits: Tensor, by: int) -> Tensor:
    # torch shifts in copies of the sign bit; a mask takes them out.
    return (bits >> by).bitwise_and_((1 << (32 - by)) - 1)


def _signed(word: int) -> int:
    """Return the int32 of the same low 32 bits."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
