"""Tests on paired differences, of two methods on the same cases for example."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PERMUTATIONS",
    "PairedTest",
    "holm",
    "rank_biserial",
    "sign_flip_test",
    "sign_flip_tests",
    "signed_rank_test",
    "smallest_p",
]

PairedTest = Literal["signed-rank", "sign-flip"]
"""Wilcoxon's signed-rank test, or the permutation test of the mean by flipping signs."""

PERMUTATIONS = 10_000
_SEED = 20230922
# Up to so many differences the signed-rank distribution is counted out, beyond it is normal.
_EXACT_RANKS = 100
# Up to so many, all 2^n signs are gone through, beyond they are drawn.
_EXACT_SIGNS = 14
_BLOCK = 1 << 19

_Floats = NDArray[np.float64]


def signed_rank_test(differences: ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test, zeros after Pratt.

    Parameters
    ----------
    differences : (n,) float
        Of pairs; NaN counts as not there, infinities are the largest.

    Returns
    -------
    float
        NaN of nothing, 1 where all are zero.

    Notes
    -----
    Pratt 1959: zeros take part in the ranking of sizes and then drop out; equal sizes share the
    mean of their ranks. Up to 100 differences other than zero the distribution over all signs is
    counted exactly, ties and zeros included, in O(n^3); beyond, the normal approximation with the
    variance of the actual ranks and a correction for continuity.

    Examples
    --------
    >>> signed_rank_test([1, 2, 3, 4, 5, 6]), signed_rank_test([1, 2, 3, 4, 5, -6])
    (0.03125, 0.4375)
    """
    array = np.asarray(differences, float)
    array = array[~np.isnan(array)]
    if not len(array):
        return math.nan
    nonzero = array != 0
    # Twice the ranks: whole numbers in spite of ties.
    ranks = _doubled_ranks(np.abs(array))[nonzero]
    if not len(ranks):
        return 1.0
    positive = int(ranks[array[nonzero] > 0].sum())
    total = int(ranks.sum())
    smaller = min(positive, total - positive)
    if len(ranks) <= _EXACT_RANKS:
        share = _share_of_sums_up_to(smaller, ranks)
    else:
        # In doubled ranks the continuity correction of a half is 1.
        deviation = math.sqrt(float((ranks.astype(float) ** 2).sum())) / 2
        share = NormalDist().cdf((smaller - total / 2 + 1) / deviation)
    return min(1.0, 2 * share)


def sign_flip_test(differences: ArrayLike, *, permutations: int = PERMUTATIONS) -> float:
    """Return the two-sided p-value of the mean difference under random signs.

    Parameters
    ----------
    differences : (n,) float
        Of pairs; NaN counts as not there, the others finite.
    permutations : int
        How often signs are drawn where there are too many to go through.

    Returns
    -------
    float
        NaN of nothing, 1 where all are zero.

    Notes
    -----
    The share of sign patterns whose mean is at least as far from 0 (Fisher 1935). Up to 14 pairs
    all 2^n patterns; beyond, drawn ones from a fixed seed and the given one among them, so that
    p >= 1 / (permutations + 1).

    Examples
    --------
    >>> sign_flip_test([1, 2, 3])
    0.25
    """
    array = np.asarray(differences, float)
    return sign_flip_tests(array[:, np.newaxis], permutations=permutations)[0]


def sign_flip_tests(table: ArrayLike, *, permutations: int = PERMUTATIONS) -> list[float]:
    """Return `sign_flip_test` of every column of a (cases, columns) table, on the same signs.

    Raises
    ------
    ValueError
        If a difference is infinite.
    """
    values = np.asarray(table, float)
    if np.isinf(values).any():
        raise ValueError("differences must be finite; the signed-rank test takes infinite ones")
    known = ~np.isnan(values)
    values = np.where(known, values, 0.0)
    observed = np.abs(values.sum(axis=0))
    # Sums in another order differ in the last digits: what is as near as that is as far from 0.
    threshold = observed - 1e-12 * np.abs(values).sum(axis=0)
    # A row of zeros has no sign to flip.
    moving = values[(values != 0).any(axis=1)]
    exact = len(moving) <= _EXACT_SIGNS
    reached = np.zeros(values.shape[1])
    signs = _all_signs(len(moving)) if exact else _drawn_signs(len(moving), permutations)
    drawn = 0
    for block in signs:
        reached += (np.abs(block @ moving) >= threshold).sum(axis=0)
        drawn += len(block)
    shares = reached / drawn if exact else (reached + 1) / (drawn + 1)
    return [
        float(share) if any_known else math.nan
        for share, any_known in zip(shares, known.any(axis=0), strict=True)
    ]


def rank_biserial(differences: ArrayLike) -> float:
    """Return the effect size of the signed-rank test: positive minus negative ranks over both.

    Examples
    --------
    >>> rank_biserial([1, 2, 3, -4]), rank_biserial([0.0])
    (0.2, nan)
    """
    array = np.asarray(differences, float)
    array = array[~np.isnan(array)]
    ranks = _doubled_ranks(np.abs(array))[array != 0]
    signs = np.sign(array[array != 0])
    return float((signs * ranks).sum() / ranks.sum()) if len(ranks) else math.nan


def smallest_p(differences: ArrayLike) -> float:
    """Return the smallest p-value that either test can give: 2 / 2^(differences other than 0).

    Examples
    --------
    >>> smallest_p([0.1, 0.2, 0.3, 0.4, 0.5]), smallest_p([0.0])
    (0.0625, 1.0)
    """
    array = np.asarray(differences, float)
    count = int(np.count_nonzero(array[~np.isnan(array)]))
    return min(1.0, 2.0 ** (1 - count))


def holm(p_values: ArrayLike) -> _Floats:
    """Return p-values adjusted for their number by Holm's step-down procedure.

    Parameters
    ----------
    p_values : (n,) float
        NaN is no test: it stays and counts for nothing.

    Returns
    -------
    (n,) float array
        Adjusted, at most 1: below alpha where Holm 1979 rejects at a family-wise error of alpha.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, np.nan]).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    values = np.asarray(p_values, float)
    adjusted = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def _doubled_ranks(sizes: _Floats) -> NDArray[np.int64]:
    """Return twice the ranks, from 2 for the smallest; equal sizes share their mean."""
    _, inverse, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    doubled: NDArray[np.int64] = (2 * last - counts + 1)[inverse]
    return doubled


def _share_of_sums_up_to(limit: int, ranks: NDArray[np.int64]) -> float:
    """Return the share of all subsets of the ranks whose sum is at most the limit."""
    # Probabilities of each sum; larger ones are cut off, they never come back.
    shares = np.zeros(limit + 1)
    shares[0] = 1.0
    for rank in ranks:
        with_rank = np.zeros_like(shares)
        with_rank[rank:] = shares[: max(0, limit + 1 - rank)]
        shares = (shares + with_rank) / 2
    return float(shares.sum())


def _all_signs(n: int) -> Iterator[_Floats]:
    """Yield every pattern of n signs once."""
    patterns = np.arange(2**n)[:, np.newaxis] >> np.arange(n)
    yield np.where(patterns & 1, -1.0, 1.0)


def _drawn_signs(n: int, permutations: int) -> Iterator[_Floats]:
    """Yield random signs, a block of patterns at a time."""
    generator = np.random.default_rng(_SEED)
    rows = max(1, _BLOCK // n)
    for start in range(0, permutations, rows):
        shape = min(rows, permutations - start), n
        yield np.where(generator.integers(0, 2, size=shape), 1.0, -1.0)
