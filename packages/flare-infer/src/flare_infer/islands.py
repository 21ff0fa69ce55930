"""Small islands of a label map, taken away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.components import Components

__all__ = ["remove_small_components"]


def remove_small_components(
    label_map: NDArray[Any], rule: Components, *, spacing_mm: Sequence[float]
) -> NDArray[Any]:
    """Return a label map without the components that a rule does not keep; 0 takes their place.

    Parameters
    ----------
    label_map : (z, y, x) integer array
        Not modified. Voxels of a label that touch by a face, an edge or a corner are one component,
        as nnU-Net counts them.
    rule : Components
    spacing_mm : (3,) float
        Of the label map.

    Returns
    -------
    (z, y, x) array
        Of the input's type. The largest component of a label always stays.

    Notes
    -----
    Cost: one labeling of each label's bounding box.

    Examples
    --------
    >>> row = np.array([[[1, 1, 1, 0, 1, 0, 2]]], dtype=np.uint8)
    >>> rule = Components(min_share=0.5, min_mm3=2.0)
    >>> remove_small_components(row, rule, spacing_mm=(1, 1, 1)).ravel().tolist()
    [1, 1, 1, 0, 0, 0, 2]
    """
    from scipy.ndimage import find_objects, label

    result = label_map.copy()
    voxel_mm3 = math.prod(float(side) for side in spacing_mm)
    touching = np.ones((3, 3, 3), dtype=bool)
    for number, box in enumerate(find_objects(label_map), start=1):
        if box is None:
            continue
        islands, count = label(label_map[box] == number, structure=touching)
        if count < 2:
            continue
        sizes = np.bincount(islands.ravel())
        sizes[0] = 0
        small = (sizes < rule.min_share * sizes.max()) & (sizes * voxel_mm3 < rule.min_mm3)
        small[0] = False
        result[box][small[islands]] = 0
    return result
