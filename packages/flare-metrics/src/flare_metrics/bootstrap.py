"""How far a mean over cases can be trusted: bootstrap intervals of 95 %.

The intervals are of the kind BCa (bias-corrected and accelerated; Efron 1987), not
plain percentiles: scores pile up below 1 with a long tail towards 0, and BCa follows that skew
where percentiles do not. It also stays between the smallest and the largest value. On few cases
every bootstrap interval is too short: it holds the true mean in 87 to 90 % of samples of 10, in
91 to 93 % of 20, from 30 on in 93 to 95 %. Where one case in 16 fails outright it takes 50 cases
to get there (75 % at 20): a sample without failures does not know of them.

Resampling draws whole cases, 4000 times, from a fixed seed: the same table gives the same
intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CONFIDENCE",
    "RESAMPLES",
    "SEED",
    "bca_interval",
    "mean_interval",
    "mean_intervals",
    "mean_of_means_interval",
    "resampled_counts",
]

CONFIDENCE = 0.95
RESAMPLES = 4000
SEED = 20230922
# Elements of one block of resampled counts: 4 MiB of them are held at a time.
_BLOCK = 1 << 19
_NORMAL = NormalDist()

_Floats = NDArray[np.float64]
Interval = tuple[float, float]


def mean_interval(values: ArrayLike) -> Interval | None:
    """Return the BCa interval of the mean of some values, as `mean_intervals` of one column.

    Parameters
    ----------
    values : (n,) float

    Returns
    -------
    (low, high) or None

    Examples
    --------
    >>> low, high = mean_interval([0.91, 0.95, 0.93, 0.40, 0.96, 0.94])
    >>> round(low, 2), round(high, 2)
    (0.57, 0.94)
    >>> mean_interval([0.9, 0.9, 0.9]), mean_interval([0.9])
    ((0.9, 0.9), None)
    """
    array = np.asarray(values, float)
    if array.ndim != 1:
        raise ValueError(f"values must have one axis, got shape {array.shape}")
    return mean_intervals(array[:, np.newaxis])[0]


def mean_intervals(table: ArrayLike) -> list[Interval | None]:
    """Return the BCa interval of the mean of every column of a table.

    Parameters
    ----------
    table : (cases, columns) float
        NaN where a case has no value in a column: its mean is over the others. Whole cases are
        resampled, those without a value like any other.

    Returns
    -------
    list of (low, high) or None
        None for fewer than two values, which say nothing about their spread. Equal values give an
        interval without width.

    Raises
    ------
    ValueError
        If a value is infinite: such a mean says nothing.

    Notes
    -----
    26 columns of 4000 cases take 0.5 s and 30 MB.
    """
    values, known = _known(table)
    counts = known.sum(axis=0)
    intervals: list[Interval | None] = [None] * values.shape[1]
    varied = []
    for column, count in enumerate(counts):
        present = values[known[:, column], column]
        if count >= 2 and present.min() < present.max():
            varied.append(column)
        elif count >= 2:
            intervals[column] = float(present[0]), float(present[0])
    if not varied:
        return intervals
    values, known, counts = values[:, varied], known[:, varied], counts[varied]
    centers = values.sum(axis=0) / counts
    # Deviations, not values: their sums lose fewer digits.
    deviations = np.where(known, values - centers, 0.0)
    replicates = _replicates(deviations, known)
    left_out = -deviations / (counts - known)
    for place, column in enumerate(varied):
        ends = bca_interval(0.0, replicates[:, place], jackknife=left_out[:, place])
        # The sum may leave the range of the values by its last digit.
        present = values[known[:, place], place]
        low, high = np.clip(centers[place] + np.array(ends), present.min(), present.max())
        intervals[column] = float(low), float(high)
    return intervals


def mean_of_means_interval(table: ArrayLike) -> Interval | None:
    """Return the BCa interval of the mean over columns of the means of columns.

    Parameters
    ----------
    table : (cases, columns) float
        NaN where a case has no value in a column. Whole cases are resampled, so that columns stay
        as dependent as they are.

    Returns
    -------
    (low, high) or None
        None for fewer than two cases with a value. A resample that leaves a column empty takes
        the mean over the others.

    Raises
    ------
    ValueError
        If a value is infinite.

    Examples
    --------
    >>> mean_of_means_interval([[0.5, 0.25], [0.5, 0.25], [0.5, 0.25]])
    (0.375, 0.375)
    """
    values, known = _known(table)
    rows, columns = known.any(axis=1), known.any(axis=0)
    if rows.sum() < 2:
        return None
    values, known = values[np.ix_(rows, columns)], known[np.ix_(rows, columns)]
    sums, counts = values.sum(axis=0), known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        left_out = _row_means((sums - values) / (counts - known))
    center = float((sums / counts).mean())
    return bca_interval(center, _row_means(_replicates(values, known)), jackknife=left_out)


def bca_interval(
    estimate: float, replicates: ArrayLike, *, jackknife: ArrayLike, confidence: float = CONFIDENCE
) -> Interval:
    """Return the BCa interval of a statistic from its resamples.

    Parameters
    ----------
    estimate : float
        The statistic of the data.
    replicates : (resamples,) float
        The statistic of each resample; NaN, where a resample has none, counts as not there.
    jackknife : (n,) float
        The statistic without each of the cases in turn; any constant may be added to all.
    confidence : float
        In (0, 1).

    Returns
    -------
    (low, high)

    Notes
    -----
    Efron 1987. Bias z0 is the normal quantile of the share of replicates below the estimate, half
    of the equal ones among them; acceleration a = sum d^3 / (6 (sum d^2)^1.5) with d the mean of
    the jackknife minus its values; the ends are the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z)))
    for z of both tails.
    """
    array = np.asarray(replicates, float)
    array = np.sort(array[~np.isnan(array)])
    # Sums in another order differ in the last digits: what is as near as that is equal.
    slack = 1e-12 * max(abs(array[0]), abs(array[-1]), abs(estimate))
    below = np.searchsorted(array, estimate - slack, "left")
    up_to = np.searchsorted(array, estimate + slack, "right")
    share = (below + up_to) / (2 * len(array))
    bias = _NORMAL.inv_cdf(min(max(share, 1 / (len(array) + 1)), len(array) / (len(array) + 1)))
    left_out = np.asarray(jackknife, float)
    deviations = left_out.mean() - left_out
    spread = float((deviations**2).sum())
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + _NORMAL.inv_cdf(tail)
        ends.append(_NORMAL.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(array, ends)
    return float(low), float(high)


def resampled_counts(
    n: int, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[NDArray[np.float64]]:
    """Yield how often each of n cases is drawn in each resample, a block of resamples at a time.

    Yields
    ------
    (block, n) float array
        Whole numbers; every row sums to n. The blocks have ``resamples`` rows together.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, min(resamples, _BLOCK // max(n, 1)))
    for start in range(0, resamples, rows):
        height = min(rows, resamples - start)
        drawn = generator.integers(0, n, size=(height, n))
        drawn += np.arange(height)[:, np.newaxis] * n
        yield np.bincount(drawn.ravel(), minlength=height * n).reshape(height, n).astype(float)


def _known(table: ArrayLike) -> tuple[_Floats, NDArray[np.bool_]]:
    """Return a table with 0 in the place of NaN, and where there was none."""
    values = np.asarray(table, float)
    if values.ndim != 2:
        raise ValueError(f"table must have the axes cases and columns, got shape {values.shape}")
    if np.isinf(values).any():
        raise ValueError("values of a mean must be finite; take those that are, and say so")
    known = ~np.isnan(values)
    return np.where(known, values, 0.0), known


def _replicates(values: _Floats, known: NDArray[np.bool_]) -> _Floats:
    """Return the column means of every resample of the rows, NaN where none has a value."""
    both = np.concatenate([values, known], axis=1)
    sums = np.concatenate([counts @ both for counts in resampled_counts(len(values))])
    with np.errstate(invalid="ignore"):
        means: _Floats = sums[:, : values.shape[1]] / sums[:, values.shape[1] :]
    return means


def _row_means(table: _Floats) -> _Floats:
    """Return the mean of every row over what is no NaN; NaN where there is nothing else."""
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        means: _Floats = np.where(known, table, 0.0).sum(axis=1) / known.sum(axis=1)
    return means
