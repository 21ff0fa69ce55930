"""Colors of labels, the same in every picture of a page."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Color", "hexadecimal", "label_colors"]

Color = tuple[int, int, int]

# Bright enough for thin lines on a dark scan; neighbors in the body are far apart in hue.
_COLORS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 190, 140),
    (240, 228, 66),
    (255, 85, 85),
    (95, 135, 255),
    (255, 140, 215),
    (180, 130, 255),
    (130, 225, 90),
    (205, 180, 140),
    (255, 165, 130),
    (0, 215, 215),
    (165, 205, 255),
    (255, 50, 210),
)


def label_colors(ids: Iterable[int]) -> dict[int, Color]:
    """Return a color for each label id, by its place; after 14 they come again.

    Examples
    --------
    >>> label_colors([1, 5])
    {1: (230, 159, 0), 5: (86, 180, 233)}
    """
    return {label: _COLORS[place % len(_COLORS)] for place, label in enumerate(ids)}


def hexadecimal(color: Color) -> str:
    """Return a color as a page writes it.

    Examples
    --------
    >>> hexadecimal((230, 159, 0))
    '#e69f00'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)
