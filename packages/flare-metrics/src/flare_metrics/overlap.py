"""Volume overlap of two masks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arguments import mask_pair
from flare_metrics._arrays import array_module

__all__ = ["dice", "dice_of_counts", "jaccard", "voxel_counts"]


def dice(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Dice similarity coefficient (DSC): twice the common volume over the sum of both.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid; of a label map, pass ``label_map == label``. Not modified.

    Returns
    -------
    float
        In [0, 1]; 1 is full agreement. Both empty: NaN, there is nothing to compare. One empty:
        0.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ.

    Notes
    -----
    What "both empty" is worth is a matter of the protocol, not of the formula: see
    `flare_metrics.protocols`.

    References
    ----------
    Dice L. R. (1945), Measures of the amount of ecologic association between species, Ecology 26.

    Examples
    --------
    >>> a = np.array([[1, 1, 0]], bool)
    >>> b = np.array([[0, 1, 1]], bool)
    >>> dice(a, b)
    0.5
    >>> dice(~a & ~a & a, ~b & b)
    nan
    """
    return dice_of_counts(*voxel_counts(*mask_pair(prediction, reference)))


def dice_of_counts(common: int, prediction: int, reference: int) -> float:
    """Return the Dice coefficient of voxel counts.

    Examples
    --------
    >>> dice_of_counts(2, 4, 4)
    0.5
    """
    total = prediction + reference
    return 2 * common / total if total else math.nan


def jaccard(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Jaccard index: common volume over joint volume, also called intersection over union.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid, NumPy or CuPy. Not modified.

    Returns
    -------
    float
        In [0, 1]; 1 is full agreement. Both empty: NaN. One empty: 0. With D the `dice` of the
        same masks it is D / (2 - D).

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ.

    References
    ----------
    Jaccard P. (1912), The distribution of the flora in the alpine zone, New Phytologist 11.

    Examples
    --------
    >>> a = np.array([[1, 1, 0, 0]], bool)
    >>> b = np.array([[0, 1, 1, 1]], bool)
    >>> jaccard(a, b)
    0.25
    """
    common, predicted, real = voxel_counts(*mask_pair(prediction, reference))
    joint = predicted + real - common
    return common / joint if joint else math.nan


def voxel_counts(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Return the voxels of both masks in common, of the prediction, and of the reference."""
    xp = array_module(prediction)
    masks = prediction & reference, prediction, reference
    common, predicted, real = (int(xp.count_nonzero(mask)) for mask in masks)
    return common, predicted, real
