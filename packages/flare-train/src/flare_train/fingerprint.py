"""What a dataset looks like as a whole: spacings, shapes, gray values of the foreground.

Nothing here loads torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flare_train.settings import from_plain, require, to_plain

__all__ = ["Fingerprint", "ForegroundIntensities"]

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ForegroundIntensities:
    """Gray values of one channel over the foreground voxels of all cases.

    Parameters
    ----------
    mean, median, std : float
        In the units of the images, HU for CT; ``std`` >= 0.
    low, high : float
        Percentiles 0.5 and 99.5.
    minimum, maximum : float
        Of the voxels that were looked at.
    """

    mean: float
    median: float
    std: float
    low: float
    high: float
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            require(math.isfinite(value), f"intensities.{field.name}", "be finite", value)
        require(self.std >= 0, "intensities.std", "be >= 0", self.std)
        require(self.low <= self.high, "intensities.low", f"be <= high, {self.high}", self.low)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Spacings, shapes and gray values of a dataset, the basis of a plan.

    Parameters
    ----------
    spacings_mm : (n, 3) float
        Spacing (z, y, x) of every case, > 0.
    shapes : (n, 3) int
        Voxels (z, y, x) of every case after the crop to non-zero.
    intensities : tuple of ForegroundIntensities
        One per channel.
    relative_size : float
        Median over cases of the voxels that the crop keeps, in (0, 1].

    Raises
    ------
    ValueError
        If there is no case or channel, or spacings and shapes are not as many.

    Examples
    --------
    >>> ct = ForegroundIntensities(
    ...     mean=80, median=90, std=140, low=-960, high=300, minimum=-1024, maximum=1500
    ... )
    >>> found = Fingerprint(
    ...     spacings_mm=((5, 0.8, 0.8), (2.5, 0.7, 0.7), (2, 0.9, 0.9)),
    ...     shapes=((90, 512, 512), (200, 512, 512), (300, 512, 500)),
    ...     intensities=(ct,),
    ... )
    >>> found.median_spacing_mm, found.median_shape
    ((2.5, 0.8, 0.8), (200.0, 512.0, 512.0))
    """

    spacings_mm: tuple[Spacing, ...]
    shapes: tuple[Shape, ...]
    intensities: tuple[ForegroundIntensities, ...]
    relative_size: float = 1.0

    def __post_init__(self) -> None:
        require(len(self.shapes) >= 1, "shapes", "name at least one case", self.shapes)
        require(
            len(self.spacings_mm) == len(self.shapes),
            "spacings_mm",
            f"name as many cases as shapes, {len(self.shapes)}",
            len(self.spacings_mm),
        )
        for spacing in self.spacings_mm:
            positive = len(spacing) == 3 and all(0 < value < math.inf for value in spacing)
            require(positive, "spacings_mm", "hold three lengths > 0 per case", spacing)
        for shape in self.shapes:
            require(len(shape) == 3 and min(shape) >= 1, "shapes", "hold three sizes >= 1", shape)
        require(len(self.intensities) >= 1, "intensities", "name at least one channel", ())
        require(0 < self.relative_size <= 1, "relative_size", "lie in (0, 1]", self.relative_size)

    @property
    def median_spacing_mm(self) -> Spacing:
        """Median spacing of every axis on its own."""
        z, y, x = np.median(np.array(self.spacings_mm, dtype=np.float64), axis=0).tolist()
        return z, y, x

    @property
    def median_shape(self) -> tuple[float, float, float]:
        """Median size of every axis on its own, in voxels of the cases' own grids."""
        z, y, x = np.median(np.array(self.shapes, dtype=np.float64), axis=0).tolist()
        return z, y, x

    def to_dict(self) -> dict[str, Any]:
        """Return plain values ready for JSON; `from_dict` is the way back."""
        plain: dict[str, Any] = to_plain(dataclasses.asdict(self))
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Fingerprint:
        """Return the fingerprint of a dict made by `to_dict`; an unknown key is an error."""
        values = dict(plain)
        channels = tuple(
            from_plain(ForegroundIntensities, row, f"intensities[{number}].")
            for number, row in enumerate(values.pop("intensities", ()))
        )
        spacings = tuple(tuple(map(float, row)) for row in values.pop("spacings_mm", ()))
        shapes = tuple(tuple(map(int, row)) for row in values.pop("shapes", ()))
        return from_plain(
            cls, values, "", spacings_mm=spacings, shapes=shapes, intensities=channels
        )
