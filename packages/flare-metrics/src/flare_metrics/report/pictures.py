"""Pictures as text within the page."""

from __future__ import annotations

import base64
import io

from PIL import Image

__all__ = ["DENSITY", "data_uri"]

DENSITY = 1.5
"""Pixels of a picture for each pixel of the page at normal size."""

# Thirty pictures must stay well below 5 MB as text, which takes a third more.
_MOST_BYTES = 80_000
_COLORS = (128, 64, 32, 16)


def data_uri(image: Image.Image) -> str:
    """Return a picture as the address of a PNG, in as many colors as fit 80 kB.

    Examples
    --------
    >>> data_uri(Image.new("RGB", (2, 2)))[:22]
    'data:image/png;base64,'
    """
    data = b""
    for colors in _COLORS:
        file = io.BytesIO()
        few = image.quantize(colors, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True)
        data = file.getvalue()
        if len(data) <= _MOST_BYTES:
            break
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
