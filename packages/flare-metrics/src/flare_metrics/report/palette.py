"""Colors of labels, the same in every picture of a page."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "FILL",
    "GROUND",
    "Color",
    "dimmed",
    "fixed_palette",
    "hexadecimal",
    "label_colors",
    "pale",
]

Color = tuple[int, int, int]

GROUND: Color = (22, 24, 28)
"""Behind everything."""

FILL = 0.28
"""Share of a label's color in its faint filling."""

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


def pale(color: Color) -> Color:
    """Return the color of a label's prediction, about half way to white."""
    red, green, blue = (round(255 - 0.45 * (255 - part)) for part in color)
    return red, green, blue


def dimmed(color: Color, share: float) -> Color:
    """Return a mixture of a color and the ground."""
    red, green, blue = (
        round(share * part + (1 - share) * ground)
        for part, ground in zip(color, GROUND, strict=True)
    )
    return red, green, blue


def fixed_palette(grays: int) -> list[Color]:
    """Return the colors of a picture with few: every label in all its shades, and grays.

    Parameters
    ----------
    grays : int
        From black to white, 2 to 142.

    Examples
    --------
    >>> len(fixed_palette(142))
    256
    """
    shades: list[Color] = [GROUND, (240, 240, 240)]
    for color in _COLORS:
        shades.append(dimmed(color, FILL))
        shades += [dimmed(each, share) for each in (color, pale(color)) for share in (1, 0.7, 0.45)]
        shades.append(pale(pale(color)))
    levels = (round(255 * level / (grays - 1)) for level in range(grays))
    return [*shades, *((level, level, level) for level in levels)]
