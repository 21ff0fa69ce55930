"""Axial, coronal and sagittal planes of a canonical volume, as pixels.

Canonical arrays run to S, P, L. So an axial plane needs no flip to have anterior up and the
patient's right on the left; the other two are turned upside down to have superior up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.intensity import apply_window
from flare_io.labels import LabelTable
from flare_io.resample import resample_image
from flare_io.resample_labels import resample_labels
from flare_io.volume import Volume

__all__ = [
    "VIEWS",
    "View",
    "informative_planes",
    "label_counts",
    "outline",
    "paint_plane",
    "panel_size",
]

_FILL = 0.22
_DASH = 5
_SEARCH_VOXELS = 4e6


@dataclass(frozen=True)
class View:
    """One of the three directions of looking.

    Parameters
    ----------
    name : str
    across : int
        The array axis across the plane.
    rows, columns : int
        The array axes that run down and to the right.
    upside_down : bool
        Whether rows run against the array axis.
    letters : (4,) str
        Where the patient's sides are: left, right, top, bottom of the picture.
    """

    name: str
    across: int
    rows: int
    columns: int
    upside_down: bool
    letters: tuple[str, str, str, str]

    def plane(self, array: NDArray[Any], index: int) -> NDArray[Any]:
        """Return one plane of a canonical (z, y, x) array, oriented as it is looked at."""
        plane: NDArray[Any] = array.take(index, axis=self.across)
        return plane[::-1] if self.upside_down else plane

    def pixel(
        self, voxel: Sequence[float], shape: Sequence[int], size: Sequence[int]
    ) -> tuple[float, float]:
        """Return row and column of a voxel's center in a panel of a size (height, width)."""
        row, column = voxel[self.rows], voxel[self.columns]
        if self.upside_down:
            row = shape[self.rows] - 1 - row
        return (
            (row + 0.5) * size[0] / shape[self.rows] - 0.5,
            (column + 0.5) * size[1] / shape[self.columns] - 0.5,
        )


VIEWS = (
    View("axial", 0, 1, 2, False, ("R", "L", "A", "P")),
    View("coronal", 1, 0, 2, True, ("R", "L", "S", "I")),
    View("sagittal", 2, 0, 1, True, ("A", "P", "S", "I")),
)


def panel_size(view: View, volume: Volume, scale: float) -> tuple[int, int]:
    """Return height and width in pixels of a plane at ``scale`` pixels per mm, at least 1."""
    height, width = (
        max(1, round(volume.shape[axis] * volume.geometry.spacing_mm[axis] * scale))
        for axis in (view.rows, view.columns)
    )
    return height, width


def informative_planes(
    labels: NDArray[Any] | None, shape: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Return the index of the plane across each axis that shows most of the labels.

    Each label counts by the share of its largest cross-section that the plane holds, so that a
    small organ weighs as much as the liver. Equal planes: the middle one of them. Without labels:
    the middle of the volume.

    Examples
    --------
    >>> labels = np.zeros((9, 9, 9), np.uint8)
    >>> labels[2, 3, 4] = 1
    >>> informative_planes(labels, labels.shape)
    (2, 3, 4)
    >>> informative_planes(None, (9, 8, 1))
    (4, 4, 0)
    """
    z, y, x = (n // 2 for n in shape)
    if labels is None or not labels.any():
        return z, y, x
    step = max(1, int(np.ceil((labels.size / _SEARCH_VOXELS) ** (1 / 3))))
    coarse = labels[::step, ::step, ::step]
    if not coarse.any():
        step, coarse = 1, labels
    scores = [np.zeros(n) for n in coarse.shape]
    for label in np.unique(coarse[coarse != 0]):
        mask = coarse == label
        for axis, score in enumerate(scores):
            areas = mask.sum(axis=tuple({0, 1, 2} - {axis}))
            score += areas / areas.max()
    best = [np.flatnonzero(score >= score.max() * (1 - 1e-9)) for score in scores]
    z, y, x = (int(planes[len(planes) // 2]) * step for planes in best)
    return z, y, x


def label_counts(labels: NDArray[Any] | None) -> dict[int, int]:
    """Return the number of voxels of each label but 0; empty without labels.

    Examples
    --------
    >>> label_counts(np.array([[[0, 3, 3]]]))
    {3: 2}
    """
    total: dict[int, int] = {}
    for plane in [] if labels is None else labels:
        values, counts = np.unique(plane, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            total[value] = total.get(value, 0) + count
    total.pop(0, None)
    return dict(sorted(total.items()))


def outline(labels: NDArray[Any], *, width: int = 1) -> NDArray[np.bool_]:
    """Return the pixels of labels within ``width`` pixels of another label, along rows and columns.

    The picture's edge is no contour.

    Examples
    --------
    >>> outline(np.array([[0, 5, 5, 5, 0]])).astype(int).tolist()
    [[0, 1, 0, 1, 0]]
    """
    near_other = np.zeros(labels.shape, dtype=bool)
    for axis in (0, 1):
        moved = np.moveaxis(labels, axis, 0)
        result = np.moveaxis(near_other, axis, 0)
        for distance in range(1, width + 1):
            differs = moved[distance:] != moved[:-distance]
            result[distance:] |= differs
            result[:-distance] |= differs
    near_other &= labels != 0
    return near_other


def paint_plane(
    image: Volume,
    view: View,
    index: int,
    *,
    scale: float,
    window_hu: tuple[float, float],
    table: LabelTable,
    layers: tuple[NDArray[Any] | None, NDArray[Any] | None] = (None, None),
) -> NDArray[np.uint8]:
    """Return one plane with contours as (height, width, 3) pixels.

    Parameters
    ----------
    image : Volume
        Canonical; Hounsfield units.
    view, index
        Direction and plane.
    scale : float
        Pixels per mm.
    window_hu : (low, high)
        Shown black and white.
    table : LabelTable
        Colors; labels that it lacks are white.
    layers : (2,) of (z, y, x) integer array or None
        Canonical label maps: the first with solid contours and a light fill, the second dashed.
    """
    height, width = size = panel_size(view, image, scale)
    gray = apply_window(view.plane(image.array, index), window_hu=window_hu)
    smooth = resample_image(gray[None].astype(np.float32), (1, *size), order=1)[0]
    pixels = np.repeat(smooth[:, :, None], 3, axis=2)
    colors = {each.id: each.color for each in table.classes}
    rows, columns = np.ogrid[:height, :width]
    dashes = ((rows + columns) // _DASH) % 2 == 0
    solid, dashed = (
        None
        if layer is None
        else resample_labels(view.plane(layer, index)[None], (1, *size), rule="linear")[0]
        for layer in layers
    )
    if solid is not None:
        lines = outline(solid, width=2)
        for label in np.unique(solid[solid != 0]):
            color = np.array(colors.get(int(label), (255, 255, 255)), np.float32)
            inside = solid == label
            pixels[inside] += _FILL * (color - pixels[inside])
            pixels[inside & lines] = color
    if dashed is not None:
        lines = outline(dashed, width=2) & dashes
        for label in np.unique(dashed[dashed != 0]):
            pixels[(dashed == label) & lines] = colors.get(int(label), (255, 255, 255))
    painted: NDArray[np.uint8] = np.rint(pixels).astype(np.uint8)
    return painted
