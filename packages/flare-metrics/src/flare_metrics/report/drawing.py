"""How one slice becomes a picture, and several pictures one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flare_metrics.report.contours import Line, dashes, draw_lines, outlines
from flare_metrics.report.disagreement import Codes
from flare_metrics.report.palette import FILL, GROUND, Color, dimmed, pale

__all__ = ["PanelScale", "draw_panel", "stacked"]

# Lines are drawn larger and shrunk, which smooths them.
_OVER = 2
_INK: Color = (240, 240, 240)
_FONT_PX, _LINE_PX, _DASH_PX, _GAP_PX = 17, 2, 7, 6
_BAR_MM = 50.0


class PanelScale(NamedTuple):
    """Size of a slice's pixels and of the picture's."""

    row_mm: float
    column_mm: float
    mm_per_px: float

    def size_px(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return width and height of the picture of a slice."""
        height = round(shape[0] * self.row_mm / self.mm_per_px)
        width = round(shape[1] * self.column_mm / self.mm_per_px)
        return max(width, 1), max(height, 1)


def draw_panel(
    prediction: Codes,
    reference: Codes,
    *,
    colors: Sequence[Color],
    notes: Mapping[int, str],
    background: NDArray[np.uint8] | None,
    scale: PanelScale,
    letters: str,
) -> Image.Image:
    """Draw one slice.

    Parameters
    ----------
    prediction, reference : (rows, columns) array
        Labels by number; 0 is none.
    colors : sequence of Color
        Of label 1, 2, ...
    notes : mapping of int to str
        Names to write beside some labels.
    background : (rows, columns) uint8 array or None
        Gray values; without them the reference is filled faintly.
    scale : PanelScale
    letters : str
        What to write at the top, bottom, left and right edge; or nothing.

    Returns
    -------
    PIL.Image.Image
        RGB, in millimeters' aspect.
    """
    size = scale.size_px(reference.shape)
    if background is None:
        picture = _filled(reference, colors).resize(size, Image.Resampling.NEAREST)
    else:
        gray = Image.fromarray(np.ascontiguousarray(background))
        picture = gray.resize(size, Image.Resampling.BICUBIC).convert("RGB")
    factors = np.array([size[1] / reference.shape[0], size[0] / reference.shape[1]])
    layer = Image.new("RGBA", (size[0] * _OVER, size[1] * _OVER), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for codes, dashed in ((reference, False), (prediction, True)):
        for code in np.unique(codes[codes > 0]).tolist():
            lines = [line * factors * _OVER for line in outlines(codes == code)]
            _draw_outline(draw, lines, colors[code - 1], dashed=dashed)
    layer = layer.resize(size, Image.Resampling.BOX)
    picture.paste(layer, (0, 0), layer)
    _write_notes(picture, (prediction, reference), factors, colors, notes)
    _write_letters(picture, letters)
    _draw_bar(picture, scale)
    return picture


def stacked(pictures: Sequence[Image.Image], legend: Sequence[tuple[str, Color]]) -> Image.Image:
    """Return pictures side by side above a legend of labels and lines."""
    gap = 8
    font = _font()
    width = max(sum(picture.width + gap for picture in pictures) + gap, 640)
    height = max((picture.height for picture in pictures), default=0)
    entries: list[tuple[str, Color | None, bool]] = [
        ("reference", None, False),
        ("prediction", None, True),
    ]
    entries += [(name, color, False) for name, color in legend]
    if not pictures:
        entries = [("no label in prediction or reference", None, False)]
    places = _flow([font.getlength(name) for name, *_ in entries], width - 2 * gap)
    row_px = _FONT_PX + 10
    rows = places[-1][1] + 1
    result = Image.new("RGB", (width, height + 2 * gap + rows * row_px + gap), GROUND)
    left = gap
    for picture in pictures:
        result.paste(picture, (left, gap + (height - picture.height) // 2))
        left += picture.width + gap
    draw = ImageDraw.Draw(result)
    for (name, color, dashed), (x, row) in zip(entries, places, strict=True):
        middle = height + 2 * gap + row * row_px + row_px // 2
        start = gap + int(x)
        line = np.array([[middle, start], [middle, start + 30]], float)
        shown = (*(color or _INK), 255)
        pieces = dashes(line, dash=_DASH_PX, gap=_GAP_PX) if dashed else [line]
        draw_lines(draw, pieces, color=shown, width=3)
        draw.text((start + 38, middle), name, fill=_INK, font=font, anchor="lm")
    return result


def _flow(lengths: Sequence[float], width: float) -> list[tuple[float, int]]:
    """Place entries of a legend in rows."""
    places, x, row = [], 0.0, 0
    for length in lengths:
        if x and x + 38 + length > width:
            x, row = 0.0, row + 1
        places.append((x, row))
        x += 38 + length + 24
    return places


def _filled(reference: Codes, colors: Sequence[Color]) -> Image.Image:
    table = np.array([GROUND, *(dimmed(color, FILL) for color in colors)], np.uint8)
    return Image.fromarray(table[reference])


def _draw_outline(
    draw: ImageDraw.ImageDraw, lines: list[Line], color: Color, *, dashed: bool
) -> None:
    width = _LINE_PX * _OVER
    if dashed:
        lines = [
            piece
            for line in lines
            for piece in dashes(line, dash=_DASH_PX * _OVER, gap=_GAP_PX * _OVER)
        ]
        color = pale(color)
    # A dark rim keeps the line visible on bright bone.
    draw_lines(draw, lines, color=(0, 0, 0, 150), width=width + 2 * _OVER)
    draw_lines(draw, lines, color=(*color, 255), width=width)


def _write_notes(
    picture: Image.Image,
    maps: tuple[Codes, Codes],
    factors: NDArray[np.float64],
    colors: Sequence[Color],
    notes: Mapping[int, str],
) -> None:
    """Write names at the right of their labels, none over another."""
    draw = ImageDraw.Draw(picture)
    font = _font()
    taken: list[tuple[float, float, float, float]] = []
    for code, name in notes.items():
        rows, columns = np.nonzero((maps[0] == code) | (maps[1] == code))
        y = float((rows.mean() + 0.5) * factors[0])
        right, left = float((columns.max() + 1) * factors[1]), float(columns.min() * factors[1])
        length = font.getlength(name)
        x = right + 5 if right + 5 + length < picture.width else max(left - 5 - length, 2)
        y = min(max(y, _FONT_PX), picture.height - _FONT_PX)
        while any(_overlaps((x, y, x + length, y + _FONT_PX), other) for other in taken):
            y += _FONT_PX + 2
        taken.append((x, y, x + length, y + _FONT_PX))
        draw.text(
            (x, y), name, fill=colors[code - 1], font=font, anchor="lm",
            stroke_width=2, stroke_fill=(0, 0, 0),
        )  # fmt: skip


def _overlaps(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write_letters(picture: Image.Image, letters: str) -> None:
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    spots = (
        ((width / 2, 3), "mt"),
        ((width / 2, height - 3), "mb"),
        ((5, height / 2), "lm"),
        ((width - 5, height / 2), "rm"),
    )
    for letter, (spot, anchor) in zip(letters, spots, strict=False):
        draw.text(
            spot, letter, fill=_INK, font=_font(), anchor=anchor,
            stroke_width=2, stroke_fill=(0, 0, 0),
        )  # fmt: skip


def _draw_bar(picture: Image.Image, scale: PanelScale) -> None:
    length = _BAR_MM / scale.mm_per_px
    if length > 0.6 * picture.width:
        return
    draw = ImageDraw.Draw(picture)
    y = picture.height - 8
    draw.line([(8, y), (8 + length, y)], fill=(0, 0, 0), width=5)
    draw.line([(9, y), (7 + length, y)], fill=_INK, width=3)
    draw.text(
        (8, y - 5), "5 cm", fill=_INK, font=_font(), anchor="lb",
        stroke_width=2, stroke_fill=(0, 0, 0),
    )  # fmt: skip


def _font() -> Any:
    # Without FreeType Pillow has one small font, whatever the size.
    return ImageFont.load_default(_FONT_PX)
