"""One label in a prediction and a reference: how many voxels, and which surfaces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._agreement import Agreement, Edge, agreement, cut_surface, voxel_count
from flare_metrics._arrays import array_module
from flare_metrics._trace import Surface, trace_surfaces

__all__ = ["LabelPair", "label_pairs"]

_Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class LabelPair:
    """A label in two label maps.

    Parameters
    ----------
    label : int
    maps : two (z, y, x) integer arrays
        Prediction and reference; one slice for two axes.
    prediction, reference : Surface or None
        None where the label is absent.
    spacing_mm : (3,) or (2,) float
    """

    label: int
    maps: tuple[NDArray[Any], NDArray[Any]]
    prediction: Surface | None
    reference: Surface | None
    spacing_mm: tuple[float, ...]

    @property
    def in_both(self) -> bool:
        """Whether both hold the label."""
        return self.prediction is not None and self.reference is not None

    @property
    def in_neither(self) -> bool:
        """Whether none holds the label."""
        return self.prediction is None and self.reference is None

    @cached_property
    def counts(self) -> tuple[int, int, int]:
        """Voxels of both, of the prediction and of the reference."""
        sizes = [voxel_count(side) if side else 0 for side in (self.prediction, self.reference)]
        if self.prediction is None or self.reference is None:
            return 0, sizes[0], sizes[1]
        boxes = _box(self.prediction), _box(self.reference)
        box = tuple(
            slice(max(a.start, b.start), max(max(a.start, b.start), min(a.stop, b.stop)))
            for a, b in zip(*boxes, strict=True)
        )
        first, second = (labels[box] == self.label for labels in self.maps)
        first &= second
        return int(array_module(first).count_nonzero(first)), sizes[0], sizes[1]

    @property
    def volumes_ml(self) -> tuple[float, float]:
        """Volume of prediction and reference; 0 for two axes."""
        voxel_ml = math.prod(self.spacing_mm) / 1000 if len(self.spacing_mm) == 3 else 0.0
        _, prediction, reference = self.counts
        return prediction * voxel_ml, reference * voxel_ml

    def on_slices_of_reference(self, *, drop_last: bool) -> LabelPair:
        """Keep the slices from the first to the last that the reference labels.

        Parameters
        ----------
        drop_last : bool
            Lose the last of them.

        Returns
        -------
        LabelPair
            Without reference where no slice is left.
        """
        if self.prediction is None or self.reference is None or len(self.spacing_mm) == 2:
            return self
        slices = _box(self.reference)[0]
        slices = slice(slices.start, slices.stop - drop_last)
        if slices.start == slices.stop:
            return replace(self, prediction=None, reference=None)
        cut = [
            cut_surface(side, labels, self.label, axis=0, slices=slices)
            for side, labels in zip((self.prediction, self.reference), self.maps, strict=True)
        ]
        return replace(self, prediction=cut[0] if cut[0].size else None, reference=cut[1])

    def surfaces(self, edge: Edge) -> Agreement | None:
        """Return the surfaces of a label in both; None where the edge leaves one without."""
        assert self.prediction is not None and self.reference is not None
        shape = self.maps[0].shape[3 - len(self.spacing_mm) :]
        found = agreement(
            self.prediction, self.reference, shape=shape, spacing_mm=self.spacing_mm, edge=edge
        )
        return found if found.prediction.size and found.reference.size else None

    def masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return both masks in the box around them, with as many axes as the spacing has."""
        boxes = [_box(side) for side in (self.prediction, self.reference) if side is not None]
        if not boxes:
            # Of one slice, which two axes drop.
            boxes = [(slice(0, 1), slice(0, 0), slice(0, 0))]
        box = tuple(
            slice(min(part.start for part in parts), max(part.stop for part in parts))
            for parts in zip(*boxes, strict=True)
        )
        drop = (0,) * (3 - len(self.spacing_mm))
        first, second = (labels[box][drop] == self.label for labels in self.maps)
        return first, second


def label_pairs(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing_mm: tuple[float, ...],
    ids: Sequence[int],
) -> dict[int, LabelPair]:
    """Return each label's pair of surfaces, both maps looked at once.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) integer array
    spacing_mm : (3,) or (2,) float
    ids : sequence of int
        Labels wanted, in [1, 65535]; any other value is background.
    """
    deep = (1,) * (3 - prediction.ndim)
    maps = prediction.reshape(deep + prediction.shape), reference.reshape(deep + prediction.shape)
    surfaces = [trace_surfaces(_small_labels(labels, ids)) for labels in maps]
    return {
        label: LabelPair(label, maps, surfaces[0].get(label), surfaces[1].get(label), spacing_mm)
        for label in ids
    }


def _small_labels(labels: NDArray[Any], ids: Iterable[int]) -> NDArray[Any]:
    """Return labels in one or two unsigned bytes; what does not fit is background."""
    if labels.dtype in (np.uint8, np.uint16):
        return labels
    highest = max(ids)
    small: NDArray[Any] = array_module(labels).zeros(
        labels.shape, np.uint8 if highest < 256 else np.uint16
    )
    for part, values in zip(small, labels, strict=True):
        part[...] = values * ((values > 0) & (values <= highest))
    return small


def _box(surface: Surface) -> _Box:
    low, high = surface.corners.min(axis=1).tolist(), surface.corners.max(axis=1).tolist()
    z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
    return z, y, x
