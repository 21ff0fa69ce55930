"""Mean, median and intervals of quantities over cases, as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.bootstrap import mean_intervals
from flare_metrics.median import median_interval

__all__ = ["Column", "column_statistics", "json_interval", "json_number", "mean_or_none"]


@dataclass(frozen=True, eq=False)
class Column:
    """One quantity over all cases.

    Parameters
    ----------
    values : (cases,) float
        NaN where a case has none; infinite only where ``is_distance``.
    decimals : int or None
        The mean is rounded to so many.
    is_distance : bool
        Whether infinite values are counted, and kept out of a mean that says so.
    """

    values: NDArray[np.float64]
    decimals: int | None = None
    is_distance: bool = False


def column_statistics(columns: Mapping[str, Column]) -> dict[str, dict[str, Any]]:
    """Return the statistics of quantities over the same cases, JSON-ready.

    Parameters
    ----------
    columns : dict of Column
        All of one length; they share their resamples.

    Returns
    -------
    dict
        By the same names: ``n``, ``mean``, ``median``, ``ci95`` and ``median_ci95``; None where
        there is none. For distances also ``infinite``, ``finite_mean``, ``finite_ci95``; where
        one is infinite, ``mean`` and ``ci95`` are None, and the median takes it as a value.

    Examples
    --------
    >>> values = np.array([2.0, 4.0, np.inf, np.nan])
    >>> hd95 = column_statistics({"hd95": Column(values, is_distance=True)})["hd95"]
    >>> hd95["n"], hd95["infinite"], hd95["mean"], hd95["finite_mean"], hd95["median"]
    (3, 1, None, 3.0, 4.0)
    """
    if not columns:
        return {}
    table = np.stack([column.values for column in columns.values()], axis=1)
    intervals = mean_intervals(np.where(np.isinf(table), math.nan, table))
    return {
        name: _statistics(column, interval)
        for (name, column), interval in zip(columns.items(), intervals, strict=True)
    }


def mean_or_none(values: NDArray[np.float64], *, decimals: int | None = None) -> float | None:
    """Return the mean, rounded as the official scripts round; None of nothing."""
    if not len(values):
        return None
    mean = float(np.mean(values))
    return mean if decimals is None else float(np.round(mean, decimals))


def json_interval(interval: tuple[float, float] | None) -> list[Any] | None:
    """Return an interval as a list of two, None where there is none."""
    return None if interval is None else [json_number(end) for end in interval]


def json_number(value: float) -> float | str | None:
    """Return a number as JSON has it: None for NaN, ``"Infinity"`` for infinity."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def _statistics(column: Column, interval: tuple[float, float] | None) -> dict[str, Any]:
    values = column.values[~np.isnan(column.values)]
    finite = values[np.isfinite(values)]
    mean = mean_or_none(finite, decimals=column.decimals)
    whole = len(finite) == len(values)
    statistics = {
        "mean": mean if whole else None,
        "median": json_number(float(np.median(values))) if len(values) else None,
        "n": len(values),
        "ci95": json_interval(interval) if whole else None,
        "median_ci95": json_interval(median_interval(values)),
    }
    if column.is_distance:
        statistics |= {
            "infinite": len(values) - len(finite),
            "finite_mean": mean,
            "finite_ci95": json_interval(interval),
        }
    return statistics
