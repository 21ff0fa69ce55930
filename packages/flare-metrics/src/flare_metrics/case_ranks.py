"""Ranks of teams in every single case, and how alike two orders are."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["kendall_tau", "positions", "ranks"]

# Mean ranks that differ only by rounding are equal.
_SLACK = 1e-9

_Floats = NDArray[np.float64]


def ranks(costs: ArrayLike, *, ties: Literal["min", "average"] = "min") -> _Floats:
    """Rank along the last axis, the smallest cost first.

    Parameters
    ----------
    costs : (..., teams) float
        NaN is missing and gets the last rank, the number of teams, however many are missing.
    ties : {"min", "average"}
        Equal costs share the best of their ranks, or the mean of them.

    Returns
    -------
    (..., teams) float array
        From 1.

    Examples
    --------
    >>> ranks([3, 1, 1, 7]).tolist(), ranks([3, 1, 1, 7], ties="average").tolist()
    ([3.0, 1.0, 1.0, 4.0], [3.0, 1.5, 1.5, 4.0])
    >>> ranks([np.nan, 2, np.nan]).tolist()
    [3.0, 1.0, 3.0]
    """
    array = np.asarray(costs, float)
    teams = array.shape[-1]
    result = np.empty(array.shape)
    for team in range(teams):
        own = array[..., team, np.newaxis]
        result[..., team] = 1 + (array < own).sum(axis=-1)
        if ties == "average":
            result[..., team] += ((array == own).sum(axis=-1) - 1) / 2
    return np.where(np.isnan(array), float(teams), result)


def positions(mean_ranks: ArrayLike) -> NDArray[np.int64]:
    """Return the places along the last axis, from 1; equal mean ranks share the best place.

    Examples
    --------
    >>> positions([1.5, 3.0, 1.5]).tolist()
    [1, 3, 1]
    """
    array = np.asarray(mean_ranks, float)
    places = np.empty(array.shape, np.int64)
    for team in range(array.shape[-1]):
        places[..., team] = 1 + (array < array[..., team, np.newaxis] - _SLACK).sum(axis=-1)
    return places


def kendall_tau(first: ArrayLike, second: ArrayLike) -> _Floats:
    """Return Kendall's tau-b of orders along the last axis.

    Parameters
    ----------
    first, second : (..., teams) float
        The other axes broadcast.

    Returns
    -------
    (...) float array
        From -1 (opposite) to 1 (same); NaN where one of the two ties all teams.

    Notes
    -----
    Kendall 1945: (concordant - discordant pairs) / sqrt(untied pairs of both). O(teams^2).

    Examples
    --------
    >>> float(kendall_tau([1, 2, 3], [1, 3, 2]).round(3))
    0.333
    """
    arrays = np.broadcast_arrays(np.asarray(first, float), np.asarray(second, float))
    pairs = np.triu_indices(arrays[0].shape[-1], 1)
    # In 8 bits, as there may be many: one sign a pair of teams.
    signs = [
        np.sign(np.where(np.abs(gaps) > _SLACK, gaps, 0.0)).astype(np.int8)
        for gaps in (array[..., pairs[0]] - array[..., pairs[1]] for array in arrays)
    ]
    agreement = (signs[0] * signs[1]).sum(axis=-1, dtype=np.int64)
    untied = [np.count_nonzero(sign, axis=-1) for sign in signs]
    with np.errstate(invalid="ignore"):
        tau: _Floats = agreement / np.sqrt(np.multiply(*untied, dtype=float))
    return tau
