"""Lesion-wise agreement: which lesions were found, missed, or made up."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DetectionScore"]


@dataclass(frozen=True, kw_only=True)
class DetectionScore:
    """How the lesions of a prediction and a reference match.

    Parameters
    ----------
    true_positives, false_positives, false_negatives : int
        Matched pairs, predicted lesions without partner, reference lesions without partner.
    segmentation_quality : float
        Mean intersection over union of the matched pairs; NaN where there are none.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    segmentation_quality: float
