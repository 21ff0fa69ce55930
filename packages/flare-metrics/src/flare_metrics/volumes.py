"""How much of two masks there is, and where it agrees, in ml."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arguments import checked_spacing, mask_pair
from flare_metrics._arrays import array_module
from flare_metrics.overlap import voxel_counts

__all__ = [
    "ConfusionVolumes",
    "VolumeDifference",
    "confusion_volumes",
    "volume_difference",
    "voxel_volume_ml",
]


@dataclass(frozen=True, kw_only=True)
class VolumeDifference:
    """The volumes of a prediction and a reference, in ml."""

    prediction_ml: float
    reference_ml: float

    @property
    def difference_ml(self) -> float:
        """Prediction minus reference; NaN where both are empty."""
        if not self.prediction_ml and not self.reference_ml:
            return math.nan
        return self.prediction_ml - self.reference_ml

    @property
    def relative(self) -> float:
        """Difference over reference: 0.1 is a tenth too much, -1 all missed.

        Infinite where only the reference is empty; NaN where both are.
        """
        if not self.reference_ml:
            return math.inf if self.prediction_ml else math.nan
        return (self.prediction_ml - self.reference_ml) / self.reference_ml


@dataclass(frozen=True, kw_only=True)
class ConfusionVolumes:
    """How much of an array is rightly and wrongly marked, in ml.

    Ratios are NaN where they compare nothing: precision and recall where both masks are empty,
    specificity where the reference fills the array. Where one mask is empty and the other is not,
    precision and recall are 0.

    Parameters
    ----------
    true_positive_ml, false_positive_ml : float
        Marked by the prediction, and by the reference too or not.
    false_negative_ml, true_negative_ml : float
        Not marked by the prediction, and by the reference or neither.
    """

    true_positive_ml: float
    false_positive_ml: float
    false_negative_ml: float
    true_negative_ml: float

    @property
    def precision(self) -> float:
        """Share of the prediction that is right."""
        return self._share(self.true_positive_ml, self.false_positive_ml)

    @property
    def recall(self) -> float:
        """Share of the reference that was found; also called sensitivity."""
        return self._share(self.true_positive_ml, self.false_negative_ml)

    @property
    def specificity(self) -> float:
        """Share of the reference's background that was left empty; grows with the array."""
        background = self.true_negative_ml + self.false_positive_ml
        return self.true_negative_ml / background if background else math.nan

    def _share(self, right: float, wrong: float) -> float:
        if right + wrong:
            return right / (right + wrong)
        return 0.0 if self.false_positive_ml or self.false_negative_ml else math.nan


def volume_difference(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
) -> VolumeDifference:
    """Compare two volumes: prediction minus reference, in ml and as a share of the reference.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid, NumPy or CuPy. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0. A pixel of a 2-D mask counts as 1 mm thick.

    Returns
    -------
    VolumeDifference
        Both empty: the difference is NaN. One empty: see `VolumeDifference.relative`.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ, or a spacing is out of range.

    Examples
    --------
    >>> prediction = np.ones((10, 10, 10), bool)
    >>> reference = prediction.copy()
    >>> reference[:5] = False
    >>> found = volume_difference(prediction, reference, spacing_mm=(2, 1, 1))
    >>> found.difference_ml, found.relative
    (1.0, 1.0)
    """
    prediction, reference = mask_pair(prediction, reference)
    voxel_ml = voxel_volume_ml(checked_spacing(spacing_mm, prediction.ndim))
    xp = array_module(prediction)
    return VolumeDifference(
        prediction_ml=int(xp.count_nonzero(prediction)) * voxel_ml,
        reference_ml=int(xp.count_nonzero(reference)) * voxel_ml,
    )


def confusion_volumes(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
) -> ConfusionVolumes:
    """Split an array by what prediction and reference say of it.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid, NumPy or CuPy. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0. A pixel of a 2-D mask counts as 1 mm thick.

    Returns
    -------
    ConfusionVolumes
        The four add up to the array. Empty masks: see `ConfusionVolumes`.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ, or a spacing is out of range.

    Examples
    --------
    >>> a = np.array([[[1, 1, 1, 0, 0]]], bool)
    >>> b = np.array([[[0, 1, 1, 1, 0]]], bool)
    >>> found = confusion_volumes(a, b, spacing_mm=(10, 10, 10))
    >>> found.true_positive_ml, found.false_positive_ml, found.false_negative_ml
    (2.0, 1.0, 1.0)
    >>> round(found.precision, 3), round(found.recall, 3), found.specificity
    (0.667, 0.667, 0.5)
    """
    prediction, reference = mask_pair(prediction, reference)
    voxel_ml = voxel_volume_ml(checked_spacing(spacing_mm, prediction.ndim))
    common, predicted, real = voxel_counts(prediction, reference)
    return ConfusionVolumes(
        true_positive_ml=common * voxel_ml,
        false_positive_ml=(predicted - common) * voxel_ml,
        false_negative_ml=(real - common) * voxel_ml,
        true_negative_ml=(prediction.size - predicted - real + common) * voxel_ml,
    )


def voxel_volume_ml(spacing_mm: Sequence[float]) -> float:
    """Return the volume of a voxel; of a pixel, as if 1 mm thick.

    Examples
    --------
    >>> voxel_volume_ml((5.0, 0.5, 0.8)), voxel_volume_ml((0.5, 0.8))
    (0.002, 0.0004)
    """
    return math.prod(spacing_mm) / 1000
