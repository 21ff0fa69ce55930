"""Voxel values for a network, and gray levels for an eye.

The five schemes are nnU-Net's, in its precision: all arithmetic in float32, on the array's own
memory order. NumPy is loaded where values are computed: descriptions are read without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["WINDOWS_HU", "Intensity", "Scheme", "apply_window"]

Scheme = Literal["ct", "zscore", "rescale", "rgb", "none"]

_SMALLEST_STD = 1e-8

WINDOWS_HU: Mapping[str, tuple[float, float]] = {
    "soft tissue": (-160.0, 240.0),
    "liver": (-50.0, 150.0),
    "lung": (-1350.0, 150.0),
    "bone": (-450.0, 1050.0),
}
"""Display windows: the HU shown black and the HU shown white."""


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """How one channel's values become the network's.

    Parameters
    ----------
    scheme : {"ct", "zscore", "rescale", "rgb", "none"}
        ``ct``: clip to ``low`` and ``high``, subtract ``mean``, divide by ``std``, the same four
        numbers for every case. ``zscore``: subtract the case's own mean, divide by its own standard
        deviation. ``rescale``: the case's own minimum becomes 0, its maximum 1. ``rgb``: divide by
        255. ``none``: as it is.
    mean, std, low, high : float, optional
        For ``ct`` only, all four needed; in HU. From the foreground voxels of a training set: mean,
        standard deviation, 0.5 and 99.5 percentile.
    within_mask : bool
        For ``zscore`` only: take mean and standard deviation inside the mask given to `apply`, and
        leave what lies outside unchanged.

    Raises
    ------
    ValueError
        If the scheme is unknown or lacks its numbers.

    References
    ----------
    Isensee et al., nnU-Net (Nature Methods 2021), supplement, "Intensity normalization".

    Examples
    --------
    >>> import numpy as np
    >>> ct = Intensity(scheme="ct", mean=80.0, std=140.0, low=-960.0, high=300.0)
    >>> ct.apply(np.float32([-3000, 80, 500])).tolist()
    [-7.42..., 0.0, 1.57...]
    """

    scheme: Scheme
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    within_mask: bool = False

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            raise ValueError(f"scheme must be one of {get_args(Scheme)}, got {self.scheme!r}")
        if self.within_mask and self.scheme != "zscore":
            raise ValueError(f"within_mask belongs to the scheme zscore, got {self.scheme!r}")
        numbers = {name: getattr(self, name) for name in ("mean", "std", "low", "high")}
        if self.scheme != "ct":
            given = [name for name, value in numbers.items() if value is not None]
            if given:
                raise ValueError(f"scheme {self.scheme!r} takes no {', '.join(given)}")
            return
        for name, value in numbers.items():
            if value is None or not math.isfinite(value):
                raise ValueError(f"scheme 'ct' needs a finite {name}, got {value!r}")
            object.__setattr__(self, name, float(value))
        if numbers["low"] >= numbers["high"] or numbers["std"] < 0:
            raise ValueError(f"scheme 'ct' needs low < high and std >= 0, got {numbers}")

    def apply(
        self, array: NDArray[Any], mask: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return the network's values; the input is not modified.

        Parameters
        ----------
        array : (z, y, x) array
            Any real type; computed in float32.
        mask : (z, y, x) bool array, optional
            Needed where ``within_mask``; an empty mask leaves everything as it is.

        Returns
        -------
        (z, y, x) float32 array

        Raises
        ------
        ValueError
            If a mask is needed and missing, its shape differs, or a value is not in 0..255 under
            ``rgb``.

        Notes
        -----
        One pass for ``ct`` (and as much memory as its result), three for ``zscore``.
        """
        import numpy as np

        values = np.array(array, dtype=np.float32, order="K")
        self.apply_in_place(values, mask)
        return values

    def apply_in_place(
        self, values: NDArray[np.float32], mask: NDArray[np.bool_] | None = None
    ) -> None:
        """Do what `apply` does, over the float32 input itself."""
        import numpy as np

        if values.dtype != np.float32:
            raise ValueError(f"values must be float32, got {values.dtype}")
        if self.scheme == "ct":
            _scale_ct(values, self)
        elif self.scheme == "zscore":
            if not self.within_mask:
                _standardize(values)
            elif mask is None or mask.shape != values.shape:
                came = None if mask is None else mask.shape
                raise ValueError(f"within_mask needs a mask of shape {values.shape}, got {came}")
            elif mask.any():
                inside = values[mask]
                _standardize(inside)
                values[mask] = inside
        elif self.scheme == "rescale":
            values -= values.min()
            values /= max(values.max(), np.float32(_SMALLEST_STD))
        elif self.scheme == "rgb":
            if values.min() < 0 or values.max() > 255:
                raise ValueError(
                    f"rgb values must lie in 0..255, got {values.min():g} to {values.max():g}"
                )
            values /= 255.0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict of what is set; ``Intensity(**it)`` is the way back."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value is not None and value is not False
        }


def apply_window(
    array: NDArray[Any], *, window_hu: tuple[float, float] = WINDOWS_HU["soft tissue"]
) -> NDArray[np.uint8]:
    """Return gray levels 0..255 of Hounsfield units.

    Parameters
    ----------
    array : array
        Hounsfield units, any shape. NaN becomes black.
    window_hu : (low, high)
        Shown black and white; values outside are clipped.

    Examples
    --------
    >>> import numpy as np
    >>> apply_window(np.array([-1000.0, 40.0, 400.0]), window_hu=(-160, 240)).tolist()
    [0, 128, 255]
    """
    import numpy as np

    low, high = window_hu
    if not low < high:
        raise ValueError(f"window_hu must be (low, high) with low < high, got {window_hu}")
    scaled = (np.nan_to_num(np.asarray(array, dtype=np.float32), nan=low) - low) * (
        255.0 / (high - low)
    )
    gray: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return gray


def _scale_ct(values: NDArray[np.float32], intensity: Intensity) -> None:
    import numpy as np

    assert intensity.mean is not None
    assert intensity.std is not None
    np.clip(values, intensity.low, intensity.high, out=values)
    values -= intensity.mean
    values /= max(intensity.std, _SMALLEST_STD)


def _standardize(values: NDArray[np.float32]) -> None:
    import numpy as np

    # Both before the first write: the second must not see the result of the first.
    mean, std = values.mean(), values.std()
    values -= mean
    values /= max(std, np.float32(_SMALLEST_STD))
