"""Pictures of a case: the outlines of prediction and reference where they disagree most.

Reference lines are solid in the color of the label, prediction lines dashed and nearly white, so
that the two are told apart without color. Where they run together the line is striped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flare_metrics.report.disagreement import Codes, find_disagreement, label_codes, labeled_box
from flare_metrics.report.drawing import PanelScale, draw_panel, stacked
from flare_metrics.report.orientation import display_order, to_display
from flare_metrics.report.palette import label_colors

__all__ = ["Panel", "disagreement_panels", "render_disagreement"]

_MARGIN_MM = 15.0
# Around a lone lesion the neighborhood must be seen, too.
_SMALLEST_FIELD_MM = 120.0
_SMALLEST_SIDE_PX = 24
_NAMED_LABELS = 3

Plane = Literal["axial", "coronal", "sagittal"]
_PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
# Letters at top, bottom, left, right of each plane of an array that runs to S, P, L.
_LETTERS = {"axial": "APRL", "coronal": "SIRL", "sagittal": "SIAP"}


@dataclass(frozen=True, eq=False)
class Panel:
    """One slice of a case.

    Parameters
    ----------
    plane : {"axial", "coronal", "sagittal"}
        Where the axes of the array are not known: across its first, second, third axis.
    axis, index : int
        Which slice of the array as it was given.
    slices : int
        How many there are.
    labels : tuple of int
        Ids that are on the slice.
    image : PIL.Image.Image
        RGB.
    """

    plane: Plane
    axis: int
    index: int
    slices: int
    labels: tuple[int, ...]
    image: Image.Image


def render_disagreement(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    names: Mapping[int, str] | None = None,
    image: NDArray[Any] | None = None,
    axes: str | None = None,
    window: tuple[float, float] = (-160.0, 240.0),
    size_px: int = 540,
) -> Image.Image:
    """Draw the slices where two label maps disagree most, with a legend.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) integer array
        Label maps on the same grid.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0.
    names : mapping of int to str, optional
        Labels to draw, in the order that gives them their colors. Default: all but 0.
    image : array of the same shape, optional
        Scan behind the outlines.
    axes : str, optional
        Where the axes of the array run to, such as ``"SPL"``; see `array_axes`. Without it the
        pictures carry no letters.
    window : (low, high)
        Values of the image that become black and white.
    size_px : int
        Longest side of a picture.

    Returns
    -------
    PIL.Image.Image
        RGB: axial, coronal and sagittal side by side at one scale. Label maps without any label
        give an empty picture with a legend that says so.

    Raises
    ------
    ValueError
        If shapes differ, or axes are no three letters.

    Examples
    --------
    >>> reference = np.zeros((40, 40, 40), np.uint8)
    >>> reference[10:30, 10:30, 10:30] = 1
    >>> picture = render_disagreement(
    ...     np.roll(reference, 4, axis=2), reference, spacing_mm=(3, 3, 3), names={1: "cube"}
    ... )
    >>> picture.mode, picture.width > 3 * 500
    ('RGB', True)
    """
    maps = [np.asarray(prediction), np.asarray(reference)]
    spacing = tuple(float(length) for length in spacing_mm)
    if maps[1].ndim == 2:
        maps = [array[None] for array in maps]
        image = None if image is None else image[None]
        spacing = (max(spacing), *spacing)
    if names is None:
        ids = sorted({int(label) for array in maps for label in np.unique(array)} - {0})
        names = {label: str(label) for label in ids}
    panels = disagreement_panels(
        maps[0],
        maps[1],
        spacing_mm=spacing,
        names=names,
        image=image,
        axes=axes,
        window=window,
        size_px=size_px,
    )
    used = {label for panel in panels for label in panel.labels}
    colors = label_colors(names)
    legend = [(names[label], colors[label]) for label in names if label in used]
    return stacked([panel.image for panel in panels], legend)


def disagreement_panels(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    names: Mapping[int, str],
    image: NDArray[Any] | None = None,
    axes: str | None = None,
    window: tuple[float, float] = (-160.0, 240.0),
    size_px: int = 540,
) -> tuple[Panel, ...]:
    """Draw the slices one by one; see `render_disagreement`.

    Returns
    -------
    tuple of Panel
        Axial, coronal, sagittal; a plane of which hardly anything would be seen (a volume of a
        few slices) is left out. Empty where no label is in either map.

    Notes
    -----
    512 x 512 x 200 voxels with 14 labels: about a second on one core, and four times the
    voxels of one map in bytes.
    """
    shapes = [array.shape for array in (prediction, reference, image) if array is not None]
    if len(set(shapes)) > 1:
        raise ValueError(f"prediction, reference and image must have one shape, got {shapes}")
    order = display_order(axes)
    maps = [label_codes(to_display(array, axes), names) for array in (prediction, reference)]
    spacing = tuple(float(spacing_mm[axis]) for axis in order)
    box = labeled_box(*maps)
    if box is None:
        return ()
    worst = find_disagreement(*maps, labels=len(names)).worst
    field = _grown(box, reference=maps[1], spacing_mm=spacing)
    extents = [(part.stop - part.start) * step for part, step in zip(field, spacing, strict=True)]
    mm_per_px = max(extents) / size_px
    scan = None if image is None else to_display(np.asarray(image), axes)
    panels = []
    for across, plane in enumerate(_PLANES):
        rest = [axis for axis in range(3) if axis != across]
        if min(extents[axis] for axis in rest) / mm_per_px < _SMALLEST_SIDE_PX:
            continue
        codes = [_slice(array, field, across, worst[across]) for array in maps]
        background = None if scan is None else _slice(scan, field, across, worst[across])
        present = np.flatnonzero(np.bincount(np.concatenate([c.ravel() for c in codes])))
        picture = draw_panel(
            codes[0],
            codes[1],
            colors=list(label_colors(names).values()),
            notes=_most_lost(codes, list(names.values())),
            background=None if background is None else _windowed(background, window),
            scale=PanelScale(spacing[rest[0]], spacing[rest[1]], mm_per_px),
            letters=_LETTERS[plane] if axes is not None else "",
        )
        flipped = axes is not None and axes[order[across]] != "SPL"[across]
        slices = maps[0].shape[across]
        panels.append(
            Panel(
                plane=plane,
                axis=order[across],
                index=slices - 1 - worst[across] if flipped else worst[across],
                slices=slices,
                labels=tuple(list(names)[code - 1] for code in present.tolist() if code),
                image=picture,
            )
        )
    return tuple(panels)


def _grown(
    box: tuple[slice, slice, slice], *, reference: Codes, spacing_mm: Sequence[float]
) -> tuple[slice, ...]:
    """Return the box with a margin, not smaller than a field of some width where there is one."""
    grown = []
    for part, step, size in zip(box, spacing_mm, reference.shape, strict=True):
        length = (part.stop - part.start) * step
        margin = max(_MARGIN_MM, (_SMALLEST_FIELD_MM - length) / 2)
        voxels = round(margin / step)
        grown.append(slice(max(part.start - voxels, 0), min(part.stop + voxels, size)))
    return tuple(grown)


def _slice(array: NDArray[Any], field: tuple[slice, ...], across: int, index: int) -> NDArray[Any]:
    """Return one slice within the field; up is up where the first axis runs upward."""
    taken: list[slice | int] = list(field)
    taken[across] = index
    part = array[tuple(taken)]
    return part if across == 0 else part[::-1]


def _windowed(values: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = window
    scaled = (np.nan_to_num(values.astype(np.float32), nan=low) - low) * (255 / (high - low))
    gray: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return gray


def _most_lost(codes: Sequence[Codes], names: Sequence[str]) -> dict[int, str]:
    """Return the codes of the labels that lose most on this slice, with their names."""
    losses = {}
    for code in range(1, len(names) + 1):
        masks = [part == code for part in codes]
        size = sum(int(mask.sum()) for mask in masks)
        wrong = int((masks[0] ^ masks[1]).sum())
        if wrong:
            losses[code] = (wrong / size, wrong)
    most = sorted(losses, key=lambda code: losses[code], reverse=True)[:_NAMED_LABELS]
    return {code: names[code - 1] for code in most}
