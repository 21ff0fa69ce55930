"""Decisions that no rounding behind an interpolation can change.

**Why cells with one sure winner need no arithmetic.** Let ``a`` win at every corner of a cell, and
let ``b`` be another contender. Linear interpolation adds the same non-negative multiples of the
corners in the same order for every channel, and products, sums and rounding are monotone: from
``a >= b`` at all corners follows ``a >= b`` behind them. For ``b`` behind ``a`` that is enough, as
the first of equal logits wins. For ``b`` ahead of ``a`` they must stay different. If
``a - b > s * max(|a|, |b|) + t`` at all corners, it holds behind exact interpolation, since the
left side is linear and the right side convex. Two numbers that far apart round to different ones
when ``s`` and ``t`` exceed the spacing of the result's numbers and the error of the arithmetic:
``s = 2^-10, t = 2^-24`` for float16 computed in float64 (spacing; the error is 2^-50),
``s = 2^-20`` for float32 computed in itself (three axes, each a product and a sum, on two channels:
at most ``12 * 2^-24``). Numbers 4 steps of float16 or 32 of float32 apart are at least that far
apart, even across a power of two, where steps halve; so are, above 2^-12, numbers as many steps of
float32 apart as 4 of float16 are. A winner is *sure* if it comes first or leads the second largest
by so many steps; smaller contenders are then farther away still.

A painter, which decides alone, is sure where its logit is at most 0, and where it exceeds 2^-18:
above any sigmoid's threshold by more than rounding.

Steps are counted on integers: the bits of a floating-point number, read as one, have its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PAINTED", "UNSURE", "Lead", "paint_states", "safe_lead", "steps_of", "sure_winners"]

UNSURE = np.iinfo(np.uint16).max
PAINTED = 1
_PAINTER_LEAST = 2.0**-18


def steps_of(values: NDArray[Any]) -> NDArray[Any]:
    """Return float16 or float32 numbers as signed distances from 0 in steps to the next number.

    Returns
    -------
    int16 or int32 array
        In the order of the numbers, with -0 equal to 0. NaN is not a number that has a place.

    Examples
    --------
    >>> steps_of(np.array([-0.0, 1.0, 1.0009765625, -65504], np.float16)).tolist()
    [0, 15360, 15361, -31743]
    """
    kind = np.dtype(f"i{values.dtype.itemsize}")
    bits = np.ascontiguousarray(values).view(kind)
    sign = bits >> (8 * kind.itemsize - 1)
    steps: NDArray[Any] = bits & np.iinfo(kind).max
    steps ^= sign
    steps -= sign
    return steps


@dataclass(frozen=True)
class Lead:
    """What makes a winner sure.

    Parameters
    ----------
    steps : int
        By how many steps it leads.
    above : int
        The larger of the two absolute values exceeds this, in steps.
    """

    steps: int
    above: int = -1


def safe_lead(dtype: np.dtype[Any], *, half: bool) -> Lead:
    """Return the lead that no rounding closes.

    Parameters
    ----------
    dtype : float16 or float32
        Of the logits.
    half : bool
        They are interpolated in float64 and rounded to float16; else in float32, not rounded.
    """
    if dtype == np.float16:
        return Lead(4)
    if not half:
        return Lead(32)
    return Lead(4 << 13, above=int(steps_of(np.array([2.0**-12], np.float32))[0]))


def sure_winners(contenders: Sequence[NDArray[Any]], lead: Lead) -> NDArray[np.uint16]:
    """Return the number of the largest contender, `UNSURE` where its lead is small.

    Parameters
    ----------
    contenders : sequence of int16 or int32 arrays
        Steps of each, in the order in which the first of equal ones wins; at least one.
    lead : Lead
        See `safe_lead`.

    Examples
    --------
    >>> steps = [np.array([0, 0, 0, 9]), np.array([0, 5, 3, 0])]
    >>> sure_winners([s.astype(np.int16) for s in steps], Lead(4)).tolist()
    [0, 1, 65535, 0]
    """
    best = contenders[0].copy()
    winner = np.zeros(best.shape, dtype=np.uint16)
    if len(contenders) == 1:
        return winner
    second = np.full_like(best, -np.iinfo(best.dtype).max)
    smaller, newer = np.empty_like(best), np.empty_like(winner)
    for number, steps in enumerate(contenders[1:], start=1):
        # A later winner has the larger number: no masked copy, which would be slow.
        np.multiply(steps > best, np.uint16(number), out=newer)
        np.maximum(winner, newer, out=winner)
        np.minimum(best, steps, out=smaller)
        np.maximum(second, smaller, out=second)
        np.maximum(best, steps, out=best)
    # Wider, or the difference of a large positive and a large negative number would wrap around.
    close = best.astype(np.int64) - second < lead.steps
    if lead.above >= 0:
        close |= np.maximum(np.abs(best), np.abs(second)) <= lead.above
    close &= winner != 0
    winner[close] = UNSURE
    return winner


def paint_states(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return, for a painter's float logits, `PAINTED`, 0 for not painted, or `UNSURE`.

    Examples
    --------
    >>> paint_states(np.array([-1, 0, 1e-7, 1], np.float32)).tolist()
    [0, 0, 65535, 1]
    """
    steps = steps_of(values)
    least = steps_of(np.array([_PAINTER_LEAST], values.dtype))[0]
    states = np.multiply(steps > 0, np.uint16(UNSURE))
    states[steps > least] = PAINTED
    return states
