"""Pictures as text within the page."""

from __future__ import annotations

import base64
import io

from PIL import Image

from flare_metrics.report.palette import fixed_palette

__all__ = ["DENSITY", "data_uri"]

DENSITY = 1.5
"""Pixels of a picture for each pixel of the page at normal size."""

# Thirty pictures must stay well below 5 MB as text, which takes a third more.
_MOST_BYTES = 80_000
_GRAYS = (142, 64, 32, 16)


def data_uri(image: Image.Image) -> str:
    """Return a picture as the address of a PNG, with as many grays as fit 80 kB.

    The colors of labels are kept: a palette chosen by how often a color occurs would give thin
    lines the gray of the scan around them.

    Examples
    --------
    >>> data_uri(Image.new("RGB", (2, 2)))[:22]
    'data:image/png;base64,'
    """
    data = b""
    for grays in _GRAYS:
        colors = [part for color in fixed_palette(grays) for part in color]
        palette = Image.new("P", (1, 1))
        palette.putpalette(colors)
        file = io.BytesIO()
        image.quantize(palette=palette, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        data = file.getvalue()
        if len(data) <= _MOST_BYTES:
            break
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
