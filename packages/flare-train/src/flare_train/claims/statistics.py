"""How far a mean of paired differences can be trusted, with seeds and cases as two sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWS", "Spread", "planned_half_width", "sign_test", "two_level_interval"]

DRAWS = 10_000
_SEED = 20230922
_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Standard deviations of paired differences that a design is planned with.

    Parameters
    ----------
    between_seeds, between_cases : float
    """

    between_seeds: float
    between_cases: float


def two_level_interval(differences: Sequence[_Floats]) -> tuple[float, float]:
    """Return the 95 % interval of the mean over seeds of the mean over cases.

    Parameters
    ----------
    differences : sequence of (n,) float arrays
        One for each seed, none empty.

    Returns
    -------
    (low, high)

    Notes
    -----
    Percentiles of 10 000 resamples, each of which draws seeds with replacement and then, for each
    drawn seed anew, its cases. With one seed the interval speaks of cases alone. With two or three
    it is too short: so few seeds do not show their spread.

    Raises
    ------
    ValueError
        If a seed has no difference.

    Examples
    --------
    >>> two_level_interval([np.full(5, 0.25), np.full(7, 0.25)])
    (0.25, 0.25)
    """
    if not differences or any(len(each) == 0 for each in differences):
        raise ValueError(
            f"every seed must have a difference, got {[len(each) for each in differences]}"
        )
    generator = np.random.default_rng(_SEED)
    seeds = len(differences)
    drawn = generator.integers(0, seeds, size=(DRAWS, seeds))
    means = np.zeros((DRAWS, seeds))
    for seed, values in enumerate(differences):
        for slot in range(seeds):
            places = np.flatnonzero(drawn[:, slot] == seed)
            cases = generator.integers(0, len(values), size=(len(places), len(values)))
            means[places, slot] = values[cases].mean(axis=1)
    low, high = np.quantile(means.mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def sign_test(differences: _Floats) -> tuple[int, int, float]:
    """Return how many differences are positive and negative, and the two-sided p-value of that.

    Examples
    --------
    >>> sign_test(np.array([1.0, 2.0, 3.0, 0.0, -1.0]))  # 2 (1 + 4) / 2^4
    (3, 1, 0.625)
    """
    positive, negative = int((differences > 0).sum()), int((differences < 0).sum())
    total = positive + negative
    tail = sum(math.comb(total, k) for k in range(min(positive, negative) + 1))
    return positive, negative, min(1.0, 2 * tail / 2**total)


def planned_half_width(spread: Spread, *, seeds: int, cases: int) -> float:
    """Return the half-width of a 95 % interval that a design is expected to reach.

    Parameters
    ----------
    spread : Spread
    seeds, cases : int
        Cases of one seed.

    Notes
    -----
    ``1.96 sqrt(between_seeds^2 / seeds + between_cases^2 / (seeds cases))``: the smallest effect
    that the design can see, known before it runs.

    Examples
    --------
    >>> spread = Spread(between_seeds=0.03, between_cases=0.06)
    >>> round(planned_half_width(spread, seeds=3, cases=24), 3)
    0.037
    """
    variance = spread.between_seeds**2 / seeds + spread.between_cases**2 / (seeds * cases)
    return 1.96 * math.sqrt(variance)
