"""Where in a case a prediction and a reference disagree most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Disagreement", "find_disagreement", "label_codes", "labeled_box"]

Codes = NDArray[np.uint16]
_Box = tuple[slice, slice, slice]
# Above this a table with an entry for each value is larger than what it saves.
_LARGEST_TABLE = 1 << 16


@dataclass(frozen=True, eq=False)
class Disagreement:
    """How the loss of Dice spreads over the slices of a case.

    Each label counts by its share: its 1 - DSC, spread evenly over the voxels where it disagrees.
    So a missed adrenal gland weighs as much as a missed liver.

    Parameters
    ----------
    profiles : tuple of three (slices,) float arrays
        The loss on every slice across the first, second and third axis.
    """

    profiles: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    @property
    def worst(self) -> tuple[int, int, int]:
        """The slice across each axis that holds the most; the first of equals."""
        first, second, third = (int(profile.argmax()) for profile in self.profiles)
        return first, second, third


def label_codes(array: NDArray[Any], ids: Iterable[int]) -> Codes:
    """Return the place of each label: 1 for the first id, 0 for everything else.

    Parameters
    ----------
    array : integer array
    ids : iterable of int
        Unique.

    Examples
    --------
    >>> label_codes(np.array([[0, 7, -3], [2, 7, 9]]), [7, 2]).tolist()
    [[0, 1, 0], [2, 1, 0]]
    """
    known = list(ids)
    if not array.size:
        return np.zeros(array.shape, np.uint16)
    low, high = int(array.min()), int(array.max())
    if high - low >= _LARGEST_TABLE:
        sparse = np.zeros(array.shape, np.uint16)
        for code, label in enumerate(known, 1):
            sparse[array == label] = code
        return sparse
    table = np.zeros(high - low + 1, np.uint16)
    for code, label in enumerate(known, 1):
        if low <= label <= high:
            table[label - low] = code
    places = array if low == 0 else np.asarray(array, np.int64) - low
    codes: Codes = table[places]
    return codes


def labeled_box(prediction: Codes, reference: Codes) -> _Box | None:
    """Return the smallest box around all labels of both, None where there are none."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(prediction.any(axis=others) | reference.any(axis=others))
        if not used.size:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return box[0], box[1], box[2]


def find_disagreement(prediction: Codes, reference: Codes, *, labels: int) -> Disagreement:
    """Spread the loss of Dice over the slices.

    Parameters
    ----------
    prediction, reference : (z, y, x) array of codes
        As from `label_codes`.
    labels : int
        How many codes there are besides 0.

    Returns
    -------
    Disagreement
        Where nothing differs, the profiles count the labeled voxels, so that the worst slices
        show the most of them.

    Examples
    --------
    >>> reference = np.zeros((2, 2, 3), np.uint16)
    >>> reference[:, 0, 0] = 1
    >>> prediction = reference.copy()
    >>> prediction[1, 1, 2] = 1
    >>> find_disagreement(prediction, reference, labels=1).worst
    (1, 1, 2)
    """
    volumes = np.zeros(labels + 1)
    for codes in (prediction, reference):
        for part in codes:
            volumes += np.bincount(part.ravel(), minlength=labels + 1)
    weights = 1 / np.maximum(volumes, 1)
    weights[0] = 0
    loss = _profiles(prediction != reference, (prediction, reference), weights)
    if not loss[0].any():
        even = np.ones(labels + 1)
        even[0] = 0
        loss = _profiles(reference > 0, (reference,), even)
    return Disagreement(loss)


def _profiles(
    chosen: NDArray[np.bool_], maps: tuple[Codes, ...], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Add the weights of the chosen voxels up across each axis, slice by slice."""
    depth, height, width = chosen.shape
    profiles = np.zeros(depth), np.zeros(height), np.zeros(width)
    for z in range(depth):
        rows, columns = np.nonzero(chosen[z])
        loss = sum(weights[codes[z, rows, columns]] for codes in maps)
        profiles[0][z] = np.sum(loss)
        profiles[1][:] += np.bincount(rows, loss, minlength=height)
        profiles[2][:] += np.bincount(columns, loss, minlength=width)
    return profiles
