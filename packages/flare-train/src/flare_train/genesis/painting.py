"""Noise painted into boxes, or everywhere but in boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flare_train.genesis_config import GenesisConfig

__all__ = ["Box", "draw_boxes"]

Box = tuple[slice, slice, slice]
# Boxes keep this many voxels off the border where there is room.
_MARGIN = 3


def draw_boxes(
    rng: np.random.Generator, shape: Sequence[int], config: GenesisConfig
) -> tuple[bool, list[Box]]:
    """Draw where noise is painted.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all numbers.
    shape : (3,) int
        Size of the image.
    config : GenesisConfig
        Its `inner_p`, `boxes` and `box_p`.

    Returns
    -------
    inner : bool
        Whether the boxes are filled with noise; else everything but them is.
    boxes : list of (slice, slice, slice)
        At least one.

    Notes
    -----
    Edges of boxes to fill are drawn evenly from a sixth to a third of the axis. Edges of boxes to
    spare are the axis without a length that is drawn evenly from 3/7 to 4/7 of it.

    Examples
    --------
    >>> config = GenesisConfig(boxes=1, inner_p=1)
    >>> inner, boxes = draw_boxes(np.random.default_rng(0), (60, 60, 60), config)
    >>> inner, [10 <= axis.stop - axis.start <= 20 for axis in boxes[0]]
    (True, [True, True, True])
    """
    inner = bool(rng.random() < config.inner_p)
    boxes = [_draw_box(rng, shape, inner)]
    while len(boxes) < config.boxes and rng.random() < config.box_p:
        boxes.append(_draw_box(rng, shape, inner))
    return inner, boxes


def _draw_box(rng: np.random.Generator, shape: Sequence[int], inner: bool) -> Box:
    slices = []
    for size in shape:
        if inner:
            edge = int(rng.integers(size // 6, size // 3 + 1))
        else:
            edge = size - int(rng.integers(3 * size // 7, 4 * size // 7 + 1))
        edge = min(max(edge, 1), size)
        margin = min(_MARGIN, (size - edge) // 2)
        start = int(rng.integers(margin, size - edge - margin + 1))
        slices.append(slice(start, start + edge))
    z, y, x = slices
    return z, y, x
