"""Lesion-wise agreement: which lesions were found, missed, or made up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arguments import checked_spacing, mask_pair
from flare_metrics._components import Components, checked_connectivity, components
from flare_metrics._matching import matched
from flare_metrics.volumes import voxel_volume_ml

__all__ = ["DetectionRule", "DetectionScore", "Lesion", "detection_score"]

DetectionRule = Literal["overlap", "iou"]
"""What makes a predicted lesion and a reference lesion candidates for each other."""

_DEFAULT_THRESHOLDS = {"overlap": 0.0, "iou": 0.5}


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One matched pair, one missed lesion, or one false alarm.

    Parameters
    ----------
    outcome : {"hit", "miss", "false alarm"}
    prediction_ml, reference_ml : float
        Volume in the prediction (a miss: 0) and in the reference (a false alarm: 0).
    iou, dsc : float
        Intersection over union and Dice of the pair; 0 where there is no pair.
    """

    outcome: Literal["hit", "miss", "false alarm"]
    prediction_ml: float
    reference_ml: float
    iou: float = 0.0
    dsc: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DetectionScore:
    """How the lesions of a prediction and a reference match.

    All ratios are NaN where neither has a lesion, and 0 where only one of them has.

    Parameters
    ----------
    true_positives, false_positives, false_negatives : int
        Matched pairs, predicted lesions without partner, reference lesions without partner.
    segmentation_quality : float
        Mean intersection over union of the matched pairs; NaN where there are none.
    lesions : tuple of Lesion
        Every lesion once, largest in the reference first; empty where only counts are known.

    Examples
    --------
    >>> score = DetectionScore(
    ...     true_positives=3, false_positives=1, false_negatives=2, segmentation_quality=0.8
    ... )
    >>> score.precision, score.recall
    (0.75, 0.6)
    >>> round(score.f1, 3), round(score.panoptic_quality, 3)
    (0.667, 0.533)
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    segmentation_quality: float
    lesions: tuple[Lesion, ...] = ()

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are real."""
        return self._share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the reference lesions that were found."""
        return self._share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        twice = 2 * self.true_positives
        return self._share(twice, twice + self.false_positives + self.false_negatives)

    @property
    def recognition_quality(self) -> float:
        """The name of F1 in panoptic quality (RQ)."""
        return self.f1

    @property
    def panoptic_quality(self) -> float:
        """Segmentation quality x recognition quality (PQ)."""
        return self.f1 * self.segmentation_quality if self.true_positives else self.f1

    def _share(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 0.0 if self.false_positives or self.false_negatives else math.nan


def detection_score(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
    rule: DetectionRule = "overlap",
    threshold: float | None = None,
    connectivity: int | None = None,
    minimum_volume_ml: float = 0.0,
) -> DetectionScore:
    """Match the lesions of two masks one to one.

    A lesion is a connected component. A predicted and a reference lesion are candidates for each
    other where their overlap exceeds the threshold. Of all ways to pair candidates such that no
    lesion is used twice, one with the most pairs is taken, and of these one with the largest sum
    of intersections over unions. So a prediction that spans two lesions finds one of them, and of
    two predictions inside one lesion one is a false alarm.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid, NumPy or CuPy. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0. Only volumes depend on it.
    rule : {"overlap", "iou"}
        What the threshold is about: the covered share of the reference lesion (intersection over
        reference), or the intersection over union.
    threshold : float, optional
        Overlap that candidates exceed, in [0, 1). Default: 0 for ``"overlap"`` (one common voxel
        is enough), 0.5 for ``"iou"`` (as in panoptic quality; from there on no lesion has two
        candidates).
    connectivity : int, optional
        Neighbors of a voxel: 26 (default), 18 or 6; in 2-D 8 (default) or 4.
    minimum_volume_ml : float
        Lesions smaller than this are removed from both masks before anything is matched. A pixel
        of a 2-D mask counts as 1 mm thick.

    Returns
    -------
    DetectionScore
        Neither mask with a lesion: all ratios NaN. Only one: all ratios 0.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ, or a setting is out of range.

    Notes
    -----
    Each mask is read once; the rest grows with the number of runs of foreground voxels along the
    axis that is contiguous in memory. 50 lesions in 512 x 512 x 200 voxels: 25 ms on one core.

    References
    ----------
    Kirillov A. et al. (2019), Panoptic segmentation, CVPR, for PQ = SQ x RQ. Maier-Hein L.,
    Reinke A. et al. (2024), Metrics reloaded, Nature Methods 21, for matching by an overlap
    criterion and the intersection over reference.

    Examples
    --------
    Two lesions, the first found in half, and a false alarm at the end.

    >>> reference = np.array([[1, 1, 0, 1, 0, 0, 0]], bool)
    >>> prediction = np.array([[1, 0, 0, 0, 0, 1, 1]], bool)
    >>> score = detection_score(prediction, reference, spacing_mm=(1, 1))
    >>> score.true_positives, score.false_positives, score.false_negatives
    (1, 1, 1)
    >>> score.f1, score.segmentation_quality, score.panoptic_quality
    (0.5, 0.5, 0.25)
    >>> [lesion.outcome for lesion in score.lesions]
    ['hit', 'miss', 'false alarm']

    An intersection over union of 0.5 does not exceed 0.5.

    >>> detection_score(prediction, reference, spacing_mm=(1, 1), rule="iou").f1
    0.0
    """
    prediction, reference = mask_pair(prediction, reference)
    voxel_ml = voxel_volume_ml(checked_spacing(spacing_mm, prediction.ndim))
    limit = _checked_threshold(rule, threshold)
    neighbors = checked_connectivity(connectivity, prediction.ndim)
    least = float(minimum_volume_ml)
    if not (math.isfinite(least) and least >= 0):
        raise ValueError(f"minimum_volume_ml must be a finite number >= 0, got {least}")
    # Rows along the axis that is fastest in memory; no axis is special to a component.
    order = sorted(range(prediction.ndim), key=lambda axis: -abs(prediction.strides[axis]))
    # A volume that is a whole number of voxels must not be lost to the rounding of a product.
    least_voxels = least / voxel_ml * (1 - 1e-9)
    predicted, real = (
        components(mask.transpose(order), connectivity=neighbors).at_least(least_voxels)
        for mask in (prediction, reference)
    )
    pairs = matched(predicted, real, rule=rule, threshold=limit)
    return DetectionScore(
        true_positives=len(pairs),
        false_positives=predicted.voxels.size - len(pairs),
        false_negatives=real.voxels.size - len(pairs),
        segmentation_quality=math.fsum(pairs.values()) / len(pairs) if pairs else math.nan,
        lesions=_table(predicted, real, pairs, voxel_ml),
    )


def _table(
    predicted: Components, real: Components, pairs: dict[tuple[int, int], float], voxel_ml: float
) -> tuple[Lesion, ...]:
    found, used = {pair[1] for pair in pairs}, {pair[0] for pair in pairs}
    volumes, references = predicted.voxels.tolist(), real.voxels.tolist()
    rows = [
        Lesion(
            outcome="hit",
            prediction_ml=volumes[row] * voxel_ml,
            reference_ml=references[column] * voxel_ml,
            iou=iou,
            dsc=2 * iou / (1 + iou),
        )
        for (row, column), iou in pairs.items()
    ]
    rows += [
        Lesion(outcome="miss", prediction_ml=0.0, reference_ml=voxels * voxel_ml)
        for column, voxels in enumerate(references)
        if column not in found
    ]
    rows += [
        Lesion(outcome="false alarm", prediction_ml=voxels * voxel_ml, reference_ml=0.0)
        for row, voxels in enumerate(volumes)
        if row not in used
    ]
    return tuple(sorted(rows, key=lambda lesion: (-lesion.reference_ml, -lesion.prediction_ml)))


def _checked_threshold(rule: str, threshold: float | None) -> float:
    if rule not in _DEFAULT_THRESHOLDS:
        raise ValueError(f"rule must be 'overlap' or 'iou', got {rule!r}")
    limit = _DEFAULT_THRESHOLDS[rule] if threshold is None else float(threshold)
    if not 0 <= limit < 1:
        raise ValueError(f"threshold must be in [0, 1), got {threshold}")
    return limit
