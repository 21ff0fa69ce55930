"""The checks that all metrics make on their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module

__all__ = [
    "as_array",
    "checked_choice",
    "checked_spacing",
    "checked_tolerance",
    "mask_pair",
    "same_shape",
]


def as_array(value: Any) -> NDArray[Any]:
    """Return a value as NumPy array; a CuPy array stays where it is."""
    array: NDArray[Any] = array_module(value).asarray(value)
    return array


def checked_choice(name: str, value: str, choices: Any) -> str:
    """Return a value that is one of a ``Literal``'s, or raise."""
    if value not in get_args(choices):
        listed = " or ".join(map(repr, get_args(choices)))
        raise ValueError(f"{name} must be {listed}, got {value!r}")
    return value


def mask_pair(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return two boolean masks of one shape, or raise."""
    masks = as_array(prediction), as_array(reference)
    for name, mask in zip(("prediction", "reference"), masks, strict=True):
        if mask.dtype != np.bool_:
            raise TypeError(
                f"{name} must be a boolean mask, got {mask.dtype}; compare it with a label first"
            )
    return same_shape(*masks)


def same_shape(
    prediction: NDArray[Any], reference: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return two arrays of one shape with 2 or 3 axes, or raise."""
    if prediction.shape != reference.shape:
        raise ValueError(
            f"prediction and reference must have one shape, got {prediction.shape} and "
            f"{reference.shape}"
        )
    if prediction.ndim not in (2, 3):
        raise ValueError(f"prediction must have 2 or 3 axes, got shape {prediction.shape}")
    return prediction, reference


def checked_spacing(spacing_mm: Sequence[float], axes: int) -> tuple[float, ...]:
    """Return the spacing as floats, one > 0 for each axis, or raise."""
    try:
        spacing = tuple(float(value) for value in spacing_mm)
    except TypeError:
        raise TypeError(
            f"spacing_mm must be {axes} numbers in array order, got {spacing_mm!r}"
        ) from None
    if len(spacing) != axes or not np.isfinite(spacing).all() or min(spacing) <= 0:
        raise ValueError(f"spacing_mm must be {axes} numbers > 0 in array order, got {spacing}")
    return spacing


def checked_tolerance(tolerance_mm: float) -> float:
    """Return the tolerance as a finite float >= 0, or raise."""
    tolerance = float(tolerance_mm)
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance_mm must be a finite number >= 0, got {tolerance_mm}")
    return tolerance
