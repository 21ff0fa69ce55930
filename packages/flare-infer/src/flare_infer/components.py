"""Small islands of a label map, taken away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Components", "remove_small_components"]


@dataclass(frozen=True, kw_only=True)
class Components:
    """Which connected components of a label are kept: the large ones, by either measure.

    Parameters
    ----------
    min_share : float
        Keep a component of at least this share of its label's largest one, in [0, 1].
    min_mm3 : float
        Keep a component of at least this volume. Infinity: the share alone counts.

    Examples
    --------
    >>> Components.from_dict({"min_share": 0.1})
    Components(min_share=0.1, min_mm3=50.0)
    """

    min_share: float = 0.05
    min_mm3: float = 50.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ValueError(f"min_share must lie in 0 to 1, got {self.min_share}")
        if not self.min_mm3 >= 0:
            raise ValueError(f"min_mm3 must be at least 0, got {self.min_mm3}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        # JSON knows no infinity.
        volume = self.min_mm3 if math.isfinite(self.min_mm3) else None
        return {**asdict(self), "min_mm3": volume}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Components:
        """Return the rule of a dict; an unknown field is an error, ``min_mm3`` None is infinity."""
        unknown = sorted(set(fields) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"components has unknown fields {unknown}, only min_share and min_mm3")
        known = {name: math.inf if value is None else value for name, value in fields.items()}
        return cls(**known)


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
