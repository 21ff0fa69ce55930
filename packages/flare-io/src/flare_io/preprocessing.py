"""What a network expects of its input, as one value that a model file can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flare_io.intensity import Intensity

__all__ = ["Axes", "Crop", "Preprocessing", "Spacing"]

Axes = Literal["canonical", "as_stored"]
Crop = Literal["nonzero", "none"]
Spacing = tuple[float, float, float]
_ORDERS = (0, 1, 3)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a network expects of its input.

    Parameters
    ----------
    spacing_mm : (3,) float or None
        Spacing of the network's grid, after ``transpose``; None keeps each case's own.
    intensities : tuple of Intensity
        One per input channel.
    crop : {"nonzero", "none"}
        ``nonzero`` cuts to the box around all voxels that are not 0 in some channel.
    image_order, image_order_z : {0, 1, 3}
        Interpolation of the image, and along a coarse axis that is resampled on its own.
    logits_order, logits_order_z : {0, 1, 3}
        The same for the way back of the logits, done by flare-infer.
    anisotropy_threshold : float
        Ratio of spacings above which the coarse axis is resampled on its own; infinity: never.
    transpose : (3,) int
        Permutation of the axes after ``axes``; entry ``k`` is the axis that becomes axis ``k``.
    axes : {"canonical", "as_stored"}
        ``canonical``: bring to S, P, L first, so that all 48 axis orders of a file give the same
        result. ``as_stored``: take the array as the file holds it, as nnU-Net does with
        SimpleITKIO.
    normalize_first : bool
        Intensities before resampling (nnU-Net v2), or after (v1).

    Raises
    ------
    ValueError
        If a value is out of range or two contradict each other.

    Examples
    --------
    >>> ct = Intensity(scheme="ct", mean=80, std=140, low=-960, high=300)
    >>> wanted = Preprocessing(spacing_mm=(4.0, 1.2, 1.2), intensities=(ct,))
    >>> Preprocessing.from_dict(wanted.to_dict()) == wanted
    True
    """

    spacing_mm: Spacing | None
    intensities: tuple[Intensity, ...]
    crop: Crop = "nonzero"
    image_order: int = 3
    image_order_z: int = 0
    logits_order: int = 1
    logits_order_z: int = 0
    anisotropy_threshold: float = 3.0
    transpose: tuple[int, int, int] = (0, 1, 2)
    axes: Axes = "canonical"
    normalize_first: bool = True

    def __post_init__(self) -> None:
        if self.spacing_mm is not None:
            spacing = tuple(float(v) for v in self.spacing_mm)
            if len(spacing) != 3 or not all(map(math.isfinite, spacing)) or min(spacing) <= 0:
                raise ValueError(f"spacing_mm must be three positive numbers, got {spacing}")
            object.__setattr__(self, "spacing_mm", spacing)
        object.__setattr__(self, "intensities", tuple(self.intensities))
        object.__setattr__(self, "transpose", tuple(int(k) for k in self.transpose))
        if not self.intensities:
            raise ValueError("intensities must name a scheme for each channel, got none")
        for name, allowed in (("crop", get_args(Crop)), ("axes", get_args(Axes))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        for name in ("image_order", "image_order_z", "logits_order", "logits_order_z"):
            if getattr(self, name) not in _ORDERS:
                raise ValueError(f"{name} must be one of {_ORDERS}, got {getattr(self, name)!r}")
        if sorted(self.transpose) != [0, 1, 2]:
            raise ValueError(f"transpose must be a permutation of 0, 1, 2, got {self.transpose}")
        if not self.anisotropy_threshold >= 1:
            raise ValueError(f"anisotropy_threshold must be >= 1, got {self.anisotropy_threshold}")
        if not self.normalize_first and any(i.within_mask for i in self.intensities):
            raise ValueError("within_mask needs normalize_first: a resampled mask fits no longer")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict, all fields named; `from_dict` is the way back."""
        return {
            "spacing_mm": None if self.spacing_mm is None else list(self.spacing_mm),
            "intensities": [intensity.to_dict() for intensity in self.intensities],
            "crop": self.crop,
            "image_order": self.image_order,
            "image_order_z": self.image_order_z,
            "logits_order": self.logits_order,
            "logits_order_z": self.logits_order_z,
            # JSON knows no infinity.
            "anisotropy_threshold": (
                self.anisotropy_threshold if math.isfinite(self.anisotropy_threshold) else None
            ),
            "transpose": list(self.transpose),
            "axes": self.axes,
            "normalize_first": self.normalize_first,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """Return the preprocessing of a dict; an unknown field is an error."""
        known = dict(fields)
        unknown = sorted(set(known) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"preprocessing has unknown fields {unknown}")
        missing = sorted({"spacing_mm", "intensities"} - set(known))
        if missing:
            raise ValueError(f"preprocessing lacks the fields {missing}")
        known["intensities"] = tuple(Intensity(**each) for each in known["intensities"])
        if known.get("anisotropy_threshold", 3.0) is None:
            known["anisotropy_threshold"] = math.inf
        return cls(**known)
