"""One picture per case: an axial, a coronal and a sagittal plane with the labels' contours.

The views are a radiologist's: the patient's right is on the image's left, anterior is up in the
axial plane and left in the sagittal one, superior is up. Millimeters have one length in all three,
whatever the voxels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flare_io.intensity import WINDOWS_HU
from flare_io.labels import LabelTable
from flare_io.views import VIEWS, View, informative_planes, label_counts, paint_plane, panel_size
from flare_io.volume import Volume, require_same_grid, to_canonical

__all__ = ["render_montage", "write_montage"]

_PANEL_PIXELS = (640, 480, 480)  # Most along (S, P, L).
_MARGIN = 24
_HEADER = 52
_CAPTION = 22
_LEGEND_WIDTH = 330
_LINE = 20
_BACKGROUND = (16, 16, 18)
_TEXT = (235, 235, 235)
_DIM = (150, 150, 155)


@dataclass(frozen=True)
class _Canvas:
    """The picture and the one place of each panel."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    corners: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    legend: tuple[int, int]
    legend_lines: int


def render_montage(
    image: Volume,
    labels: Volume | None,
    *,
    table: LabelTable,
    reference: Volume | None = None,
    title: str = "",
    window_hu: tuple[float, float] = WINDOWS_HU["soft tissue"],
) -> Image.Image:
    """Return the picture of one case.

    Parameters
    ----------
    image : Volume
        CT in Hounsfield units; any axis order.
    labels : Volume or None
        Label map in the same place, drawn with solid contours and a light fill. Its axis order may
        differ.
    table : LabelTable
        Names and colors. A label that it does not hold is drawn in white under its number.
    reference : Volume, optional
        Second label map, drawn with dashed contours.
    title : str
        First line of the picture.
    window_hu : (low, high)
        Hounsfield units shown black and white.

    Returns
    -------
    PIL.Image.Image
        RGB, about 900 x 1000 pixels for a torso. The planes are those that show most of the labels;
        without labels those through the middle. The legend gives each label's volume in ml, for the
        reference too.

    Raises
    ------
    GeometryError
        If labels or reference lie on another grid than the image.

    Notes
    -----
    Reads the label map once and three planes of the image; about 0.3 s for 512 x 512 x 300.

    Examples
    --------
    >>> import numpy as np
    >>> from flare_io.geometry import Geometry
    >>> from flare_io.labels import label_table
    >>> ct = Volume(np.zeros((20, 40, 40), np.int16), Geometry((5.0, 2.0, 2.0)))
    >>> render_montage(ct, None, table=label_table("flare23"), title="empty").mode
    'RGB'
    """
    canonical, _ = to_canonical(image)
    maps: list[NDArray[Any] | None] = []
    for name, volume in (("labels", labels), ("reference", reference)):
        if volume is None:
            maps.append(None)
            continue
        aligned, _ = to_canonical(volume)
        require_same_grid(aligned, canonical, name=name)
        maps.append(aligned.array)
    solid, dashed = maps
    chosen = solid if solid is not None and solid.any() else dashed
    planes = informative_planes(chosen, canonical.shape)
    scale = min(
        pixels / (n * mm)
        for pixels, n, mm in zip(
            _PANEL_PIXELS, canonical.shape, canonical.geometry.spacing_mm, strict=True
        )
    )
    canvas = _canvas([panel_size(view, canonical, scale) for view in VIEWS])
    for view, corner in zip(VIEWS, canvas.corners, strict=True):
        index = planes[view.across]
        panel = paint_plane(
            canonical,
            view,
            index,
            scale=scale,
            window_hu=window_hu,
            table=table,
            layers=(solid, dashed),
        )
        canvas.image.paste(Image.fromarray(panel), corner)
        _annotate(canvas, view, corner, panel.shape[:2], canonical, index)
    _write_header(canvas, canonical, title, window_hu)
    _write_legend(canvas, table, canonical, solid, dashed)
    return canvas.image


def write_montage(
    path: str | os.PathLike[str],
    image: Volume,
    labels: Volume | None,
    *,
    table: LabelTable,
    reference: Volume | None = None,
    title: str = "",
    window_hu: tuple[float, float] = WINDOWS_HU["soft tissue"],
) -> None:
    """Write what `render_montage` draws as a PNG file; the file appears whole or not at all.

    Raises
    ------
    ValueError
        If the name does not end in ``.png``.
    """
    from flare_io.atomic import write_file

    if not os.fspath(path).lower().endswith(".png"):
        raise ValueError(f"path must end in .png, got {os.fspath(path)!r}")
    picture = render_montage(
        image, labels, table=table, reference=reference, title=title, window_hu=window_hu
    )

    def save(stream: BinaryIO) -> None:
        picture.save(stream, format="PNG", optimize=True)

    write_file(path, save)


def _canvas(sizes: list[tuple[int, int]]) -> _Canvas:
    """Lay out axial above coronal, which share x, with sagittal beside coronal, which share z."""
    (axial_h, axial_w), (coronal_h, coronal_w), (_, sagittal_w) = sizes
    left = _MARGIN
    right = left + max(axial_w, coronal_w) + 2 * _MARGIN
    top = _HEADER + _CAPTION + _MARGIN
    legend_lines = max(16, axial_h // _LINE)
    below = top + max(axial_h, legend_lines * _LINE) + _CAPTION + 2 * _MARGIN
    size = (right + max(sagittal_w, _LEGEND_WIDTH) + _MARGIN, below + coronal_h + _MARGIN)
    picture = Image.new("RGB", size, _BACKGROUND)
    corners = ((left, top), (left, below), (right, below))
    legend = (right, top - _CAPTION)
    return _Canvas(picture, ImageDraw.Draw(picture), corners, legend, legend_lines)


def _annotate(
    canvas: _Canvas,
    view: View,
    corner: tuple[int, int],
    size: tuple[int, int],
    image: Volume,
    index: int,
) -> None:
    """Write the four letters round a panel and its caption above."""
    (x, y), (height, width) = corner, size
    middle = (x + width / 2, y + height / 2)
    places = (
        (x - 12, middle[1]),
        (x + width + 12, middle[1]),
        (middle[0], y - 12),
        (middle[0], y + height + 12),
    )
    for letter, place in zip(view.letters, places, strict=True):
        canvas.draw.text(place, letter, fill=_TEXT, font=_font(15), anchor="mm")
    center = [(n - 1) / 2 for n in image.shape]
    center[view.across] = index
    position_mm = image.geometry.world_from_index(center)[view.across]
    caption = f"{view.name} {index + 1}/{image.shape[view.across]}  "
    caption += f"{'SPL'[view.across]} {position_mm:+.0f} mm"
    canvas.draw.text((x, y - _MARGIN - 4), caption, fill=_DIM, font=_font(13), anchor="ls")


def _write_header(
    canvas: _Canvas, image: Volume, title: str, window_hu: tuple[float, float]
) -> None:
    shape = " x ".join(str(n) for n in image.shape)
    spacing = " x ".join(f"{mm:.2f}" for mm in image.geometry.spacing_mm)
    facts = f"{shape} voxels of {spacing} mm (z, y, x), "
    facts += f"window {window_hu[0]:.0f} to {window_hu[1]:.0f} HU"
    limit = canvas.image.width - 2 * _MARGIN
    for y, text, size, color in ((10, title, 18, _TEXT), (34, facts, 13, _DIM)):
        text, font = " ".join(text.split()), _font(size)
        while len(text) > 4 and font.getlength(text) > limit:
            text = text[: int(len(text) * limit / font.getlength(text)) - 4] + "..."
        canvas.draw.text((_MARGIN, y), text, fill=color, font=font)


def _write_legend(
    canvas: _Canvas,
    table: LabelTable,
    image: Volume,
    solid: NDArray[Any] | None,
    dashed: NDArray[Any] | None,
) -> None:
    """Write swatch, name and volume of every label that occurs."""
    x, y = canvas.legend
    counts = [label_counts(layer) for layer in (solid, dashed)]
    present = sorted({*counts[0], *counts[1]})
    if not present:
        canvas.draw.text((x, y), "no labels", fill=_DIM, font=_font(14))
        return
    columns = ("ml",) if dashed is None else ("solid, ml", "dashed, ml")
    ends = [x + _LEGEND_WIDTH - 90 * k for k in reversed(range(len(columns)))]
    for end, heading in zip(ends, columns, strict=True):
        canvas.draw.text((end, y), heading, fill=_DIM, font=_font(13), anchor="ra")
    names = dict(zip(table.ids, table.names, strict=True))
    colors = {each.id: each.color for each in table.classes}
    shown = present if len(present) < canvas.legend_lines else present[: canvas.legend_lines - 2]
    for line, label in enumerate(shown, start=1):
        top = y + line * _LINE
        color = colors.get(label, (255, 255, 255))
        canvas.draw.rectangle((x, top + 2, x + 12, top + 14), fill=color)
        name = names.get(label, f"label {label}")
        canvas.draw.text((x + 20, top), name, fill=_TEXT, font=_font(14))
        for end, count in zip(ends, counts, strict=False):
            volume_ml = count.get(label, 0) * image.geometry.voxel_volume_mm3 / 1000
            text = f"{volume_ml:.1f}" if volume_ml < 10 else f"{volume_ml:.0f}"
            canvas.draw.text((end, top), text, fill=_TEXT, font=_font(14), anchor="ra")
    if len(shown) < len(present):
        rest = f"and {len(present) - len(shown)} more"
        top = y + (len(shown) + 1) * _LINE
        canvas.draw.text((x + 20, top), rest, fill=_DIM, font=_font(14))


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
