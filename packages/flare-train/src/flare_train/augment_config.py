"""How often and how far a training patch is changed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from flare_train.settings import Range, require, require_range, require_share

__all__ = ["AugmentConfig"]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How often and how far a patch is changed; ``*_p`` are probabilities per sample.

    Parameters
    ----------
    rotation_p, rotation_degrees : float, (float, float, float)
        Largest angle about the z, y and x axis, drawn evenly in both directions.
    scale_p, scale : float, (low, high)
        Size of the anatomy relative to the original.
    noise_p, noise_variance : float, (low, high)
        Gaussian noise added.
    brightness_p, brightness : float, (low, high)
        Factor on all intensities.
    shift_p, shift : float, (low, high)
        Added to all intensities.
    contrast_p, contrast : float, (low, high)
        Factor on the distance to the mean; the range is kept.
    gamma_p, gamma : float, (low, high)
        Exponent on intensities scaled to [0, 1]; mean and deviation are kept.
    gamma_inverted_p : float
        The same on the negative image.

    Notes
    -----
    Default: nothing. `light` is the mild preset that learning small nets bears.
    """

    rotation_p: float = 0.0
    rotation_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale_p: float = 0.0
    scale: Range = (1.0, 1.0)
    noise_p: float = 0.0
    noise_variance: Range = (0.0, 0.0)
    brightness_p: float = 0.0
    brightness: Range = (1.0, 1.0)
    shift_p: float = 0.0
    shift: Range = (0.0, 0.0)
    contrast_p: float = 0.0
    contrast: Range = (1.0, 1.0)
    gamma_p: float = 0.0
    gamma: Range = (1.0, 1.0)
    gamma_inverted_p: float = 0.0

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            if entry.name.endswith("_p"):
                require_share(f"augment.{entry.name}", getattr(self, entry.name))
        for name in ("scale", "brightness", "contrast", "gamma"):
            require_range(f"augment.{name}", getattr(self, name), low=0.01)
        require_range("augment.noise_variance", self.noise_variance, low=0.0)
        require_range("augment.shift", self.shift)
        require(
            len(self.rotation_degrees) == 3 and min(self.rotation_degrees) >= 0,
            "augment.rotation_degrees",
            "be three angles >= 0",
            self.rotation_degrees,
        )

    @classmethod
    def light(cls) -> Self:
        """Return the mild preset: small rotations and scalings, nnU-Net's intensity changes.

        Examples
        --------
        >>> AugmentConfig.light().scale
        (0.85, 1.2)
        """
        return cls(
            rotation_p=0.3,
            rotation_degrees=(15.0, 8.0, 8.0),
            scale_p=0.3,
            scale=(0.85, 1.2),
            noise_p=0.1,
            noise_variance=(0.0, 0.1),
            brightness_p=0.15,
            brightness=(0.75, 1.25),
            shift_p=0.15,
            shift=(-0.2, 0.2),
            contrast_p=0.15,
            contrast=(0.75, 1.25),
            gamma_p=0.2,
            gamma=(0.7, 1.5),
            gamma_inverted_p=0.1,
        )
