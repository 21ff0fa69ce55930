"""The grid that all cases of a dataset are brought to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flare_io.resample import target_shape
from flare_train.fingerprint import Fingerprint

__all__ = ["coarsest_first", "median_target_shape", "target_spacing_mm"]

Spacing = tuple[float, float, float]
# A case counts as anisotropic from this ratio of spacings, and of sizes the other way round.
_ANISOTROPY = 3
_FINE_PERCENTILE = 10


def target_spacing_mm(fingerprint: Fingerprint) -> Spacing:
    """Return nnU-Net's target spacing, axes as in the fingerprint.

    The median of every axis. Where the coarsest axis is more than 3 times coarser than the others
    and has less than a third of their voxels, its 10th percentile instead, but no finer than the
    others: the median there would blur many cases.

    Examples
    --------
    >>> from flare_train.fingerprint import ForegroundIntensities
    >>> any_values = ForegroundIntensities(
    ...     mean=0, median=0, std=1, low=-1, high=1, minimum=-2, maximum=2
    ... )
    >>> thick = Fingerprint(
    ...     spacings_mm=((10, 1.5, 1.5), (10, 1.5, 1.5), (5, 1.5, 1.5)),
    ...     shapes=((9, 256, 256),) * 3,
    ...     intensities=(any_values,),
    ... )
    >>> target_spacing_mm(thick)
    (6.0, 1.5, 1.5)
    """
    spacings = np.array(fingerprint.spacings_mm, dtype=np.float64)
    target = np.percentile(spacings, 50, axis=0)
    sizes = np.percentile(np.array(fingerprint.shapes, dtype=np.float64), 50, axis=0)
    coarsest = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != coarsest]
    coarsest_other = max(target[axis] for axis in others)
    if target[coarsest] > _ANISOTROPY * coarsest_other and sizes[coarsest] * _ANISOTROPY < min(
        sizes[axis] for axis in others
    ):
        finer = np.percentile(spacings[:, coarsest], _FINE_PERCENTILE)
        if finer < coarsest_other:
            finer = coarsest_other + 1e-5
        target[coarsest] = finer
    z, y, x = target.tolist()
    return z, y, x


def coarsest_first(spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """Return the order of axes that puts the coarsest first and keeps the others as they are.

    Entry k is the axis that becomes axis k, as in `flare_io.Preprocessing.transpose`.

    Examples
    --------
    >>> coarsest_first((0.8, 5.0, 0.8))
    (1, 0, 2)
    """
    coarsest = int(np.argmax(spacing_mm))
    first, second = (axis for axis in range(3) if axis != coarsest)
    return coarsest, first, second


def median_target_shape(
    fingerprint: Fingerprint, spacing_mm: Sequence[float]
) -> tuple[float, float, float]:
    """Return the median size of all cases at a spacing; axes as in the fingerprint."""
    shapes = [
        target_shape(shape, old, spacing_mm)
        for shape, old in zip(fingerprint.shapes, fingerprint.spacings_mm, strict=True)
    ]
    z, y, x = np.median(np.array(shapes, dtype=np.float64), axis=0).tolist()
    return z, y, x
