"""How far a median over cases can be trusted."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["median_interval"]

_CONFIDENCE = 0.95


def median_interval(values: ArrayLike) -> tuple[float, float] | None:
    """Return the interval of the median between two order statistics.

    The narrowest pair, equally far from both ends, that holds the true median with a probability
    of at least 95 %, from the binomial distribution (Thompson 1936).

    Parameters
    ----------
    values : (n,) float
        NaN counts as not there; infinities are values like others.

    Returns
    -------
    (low, high) or None
        None for fewer than six values, where not even smallest and largest are so sure.

    Examples
    --------
    >>> median_interval([3, 1, 2, 6, 5, 4, math.inf])
    (1.0, inf)
    """
    array = np.asarray(values, float)
    array = np.sort(array[~np.isnan(array)])
    rank = _median_rank(len(array))
    if rank == 0:
        return None
    return float(array[rank - 1]), float(array[len(array) - rank])


@lru_cache(maxsize=256)
def _median_rank(n: int) -> int:
    """Return the largest k with P(Binomial(n, 1/2) < k) <= 2.5 %; 0 where there is none."""
    # log C(n, i) - n log 2, from the ratio of neighbors.
    i = np.arange(1, n // 2 + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((n - i + 1) / i))]) - n * math.log(2)
    below = np.cumsum(np.exp(logs))
    return int(np.searchsorted(below, (1 - _CONFIDENCE) / 2, "right"))
