"""Which predicted lesion is which real one: the best one-to-one pairing of candidates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._components import Components, shared_voxels
from flare_metrics._connected import connected_numbers

__all__ = ["matched"]


def matched(
    predicted: Components, real: Components, *, rule: str, threshold: float
) -> dict[tuple[int, int], float]:
    """Pair the lesions of two masks.

    Parameters
    ----------
    predicted, real : Components
        Of masks of one shape.
    rule : {"overlap", "iou"}
        Whether candidates overlap in a share of the real lesion or of the union.
    threshold : float
        Share that candidates exceed.

    Returns
    -------
    dict of (int, int) to float
        Intersection over union of each pair (predicted lesion, real lesion): the most pairs, and
        of such pairings the largest sum.
    """
    rows, columns, common = shared_voxels(predicted, real)
    iou = common / (predicted.voxels[rows] + real.voxels[columns] - common)
    overlap = common / real.voxels[columns] if rule == "overlap" else iou
    near = overlap > threshold
    rows, columns, iou = rows[near], columns[near], iou[near]
    chosen: list[int] = []
    for group in _groups(rows, columns):
        chosen += _best(rows[group], columns[group], iou[group], group)
    return {(int(rows[k]), int(columns[k])): float(iou[k]) for k in chosen}


def _groups(rows: NDArray[Any], columns: NDArray[Any]) -> Iterator[NDArray[np.intp]]:
    """Yield the candidate pairs in groups that share no lesion."""
    if not rows.size:
        return
    size = int(rows.max()) + 1
    group = connected_numbers(rows, columns + size, size + int(columns.max()) + 1)[rows]
    order = np.argsort(group, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _best(
    rows: NDArray[Any], columns: NDArray[Any], iou: NDArray[np.float64], which: NDArray[np.intp]
) -> list[int]:
    """Return the candidates that make the most pairs, then the largest sum of IoU."""
    if rows.size == 1:
        return [int(which[0])]
    from scipy.optimize import linear_sum_assignment

    row_of, row = np.unique(rows, return_inverse=True)
    column_of, column = np.unique(columns, return_inverse=True)
    value = np.zeros((row_of.size, column_of.size))
    # One more pair outweighs whatever the IoU of all pairs can add up to.
    value[row, column] = min(value.shape) + 1 + iou
    position = np.full(value.shape, -1)
    position[row, column] = which
    return [int(k) for k in position[linear_sum_assignment(value, maximize=True)] if k >= 0]
