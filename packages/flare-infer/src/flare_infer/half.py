"""float16's rounding on float32 arrays, as fast as arithmetic in float32.

NumPy converts to float16 one number at a time. Sums that are to be rounded like float16's are kept
in float32, where every float16 number has its place, and rounded by adding and subtracting one
large number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST_HALF", "round_to_half"]

LARGEST_HALF = 65504.0
_EXPONENT_BITS = np.uint32(0x7F800000)
# Below 2^-14 float16 numbers are 2^-24 apart, however small they are.
_SMALLEST_NORMAL = np.float32(2.0**-14)
# Added to a number in [2^e, 2^(e + 1)), 1.5 * 2^(e + 13) gives a sum whose last bit is 2^(e - 10):
# the spacing of float16 there. Halves go to the even number, as in float16.
_LIFT = np.float32(1.5 * 2.0**13)


def round_to_half(values: NDArray[np.float32], scratch: NDArray[np.float32]) -> None:
    """Round to the nearest float16 number, in place.

    Parameters
    ----------
    values : float32 array
        Up to 1e33. What float16 would round to infinity becomes larger than `LARGEST_HALF`; the
        sign of a 0 may be lost.
    scratch : float32 array
        Of the same shape; overwritten.

    Examples
    --------
    >>> values = np.array([0.1, 2049.0, 3e-8], np.float32)
    >>> round_to_half(values, np.empty_like(values))
    >>> values.tolist()
    [0.0999755859375, 2048.0, 5.960464477539063e-08]
    """
    np.bitwise_and(values.view(np.uint32), _EXPONENT_BITS, out=scratch.view(np.uint32))
    np.maximum(scratch, _SMALLEST_NORMAL, out=scratch)
    scratch *= _LIFT
    values += scratch
    values -= scratch
