"""Label values squeezed into 8 bits, as the official scripts do before they look at them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["cast_labels"]

_LOWEST, _BEYOND = -(2**31), 2**31


def cast_labels(
    array: NDArray[Any], cast: Literal["none", "uint8", "int8"] = "none"
) -> NDArray[Any]:
    """Return an array as a C cast to 8 bits leaves it.

    Parameters
    ----------
    array : (z, y, x) or (y, x) array of integers, bools or floats
        Not modified; shared where no value changes.
    cast : {"none", "uint8", "int8"}

    Returns
    -------
    array
        Fractions are cut off and the low 8 bits kept. What does not fit 32 bits, NaN included,
        becomes 0: the rule of x86 processors, on every processor.

    Notes
    -----
    Needs one slice of memory beside the result.

    Examples
    --------
    >>> values = np.array([[1.9, -1.0, 200.0, 257.0, np.nan]])
    >>> cast_labels(values, "uint8").tolist()
    [[1, 255, 200, 1, 0]]
    >>> cast_labels(values, "int8").tolist()
    [[1, -1, -56, 1, 0]]
    """
    if cast == "none" or array.dtype == cast:
        return array
    target = np.dtype(cast)
    if array.dtype.kind in "iub" and array.dtype.itemsize == 1:
        return array.view(target)
    result = np.empty(array.shape, target)
    for k, part in enumerate(array):
        result[k] = _in_32_bits(part).astype(target)
    return result


def _in_32_bits(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "iu" and values.dtype.newbyteorder("=") in ("i2", "u2", "i4"):
        return values
    # The lowest number itself has 0 in its low bits, as what is refused gets.
    fits = (values > _LOWEST) & (values < _BEYOND)
    return np.where(fits, values, 0).astype(np.int32)
