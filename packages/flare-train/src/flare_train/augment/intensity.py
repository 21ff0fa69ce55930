"""Changes of intensity, each for the samples whose factor is not NaN.

All take images (b, c, z, y, x) and one number per sample, and return a new tensor; statistics are
taken per sample and channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["add_noise", "change_brightness", "change_contrast", "change_gamma", "shift_intensity"]

Factors = NDArray[np.floating]
_VOXELS = (2, 3, 4)


def _where_chosen(
    images: Tensor, factors: Factors, change: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    chosen = np.flatnonzero(~np.isnan(factors))
    if chosen.size == 0:
        return images
    index = torch.as_tensor(chosen, device=images.device)
    values = torch.as_tensor(factors[chosen], dtype=images.dtype, device=images.device)
    result = images.clone()
    result[index] = change(images[index], values.view(-1, 1, 1, 1, 1))
    return result


def change_brightness(images: Tensor, factors: Factors) -> Tensor:
    """Multiply all intensities.

    Examples
    --------
    >>> change_brightness(torch.ones(2, 1, 1, 1, 1), np.array([2.0, np.nan])).ravel().tolist()
    [2.0, 1.0]
    """
    return _where_chosen(images, factors, lambda image, factor: image * factor)


def shift_intensity(images: Tensor, offsets: Factors) -> Tensor:
    """Add a number to all intensities.

    Examples
    --------
    >>> shift_intensity(torch.ones(1, 1, 1, 1, 2), np.array([0.5])).ravel().tolist()
    [1.5, 1.5]
    """
    return _where_chosen(images, offsets, lambda image, offset: image + offset)


def change_contrast(images: Tensor, factors: Factors) -> Tensor:
    """Multiply the distance to the mean, and clip to the range that the image had.

    Examples
    --------
    >>> line = torch.tensor([0.0, 4.0, 5.0, 11.0]).reshape(1, 1, 1, 1, 4)  # mean 5
    >>> change_contrast(line, np.array([2.0])).ravel().tolist()
    [0.0, 3.0, 5.0, 11.0]
    """

    def change(image: Tensor, factor: Tensor) -> Tensor:
        mean = image.mean(_VOXELS, keepdim=True)
        low, high = image.amin(_VOXELS, keepdim=True), image.amax(_VOXELS, keepdim=True)
        return torch.clamp((image - mean) * factor + mean, low, high)

    return _where_chosen(images, factors, change)


def change_gamma(images: Tensor, factors: Factors, *, inverted: bool = False) -> Tensor:
    """Raise intensities, scaled to [0, 1], to a power; then restore mean and deviation.

    Parameters
    ----------
    images : (b, c, z, y, x) floating tensor
        A constant image stays as it is.
    factors : (b,) array
        Exponents > 0; NaN: sample unchanged.
    inverted : bool, optional
        Work on the negative image, which spreads bright instead of dark intensities.
    """

    def change(image: Tensor, gamma: Tensor) -> Tensor:
        sign = -1.0 if inverted else 1.0
        image = sign * image
        mean, deviation = image.mean(_VOXELS, keepdim=True), _deviation(image)
        low = image.amin(_VOXELS, keepdim=True)
        extent = (image.amax(_VOXELS, keepdim=True) - low).clamp_min(1e-7)
        bent = ((image - low) / extent) ** gamma
        centered = bent - bent.mean(_VOXELS, keepdim=True)
        return sign * (centered * (deviation / _deviation(bent).clamp_min(1e-7)) + mean)

    return _where_chosen(images, factors, change)


def add_noise(images: Tensor, variances: Factors, *, seeds: Sequence[int]) -> Tensor:
    """Add Gaussian noise.

    Parameters
    ----------
    images : (b, c, z, y, x) floating tensor
        Not modified.
    variances : (b,) array
        >= 0; NaN: no noise.
    seeds : sequence of int
        One per sample: its noise field depends on nothing else.
    """
    chosen = np.flatnonzero(~np.isnan(variances))
    if chosen.size == 0:
        return images
    result = images.clone()
    for sample in chosen.tolist():
        generator = torch.Generator(device=images.device).manual_seed(seeds[sample])
        field = torch.randn(
            images.shape[1:], generator=generator, dtype=images.dtype, device=images.device
        )
        result[sample] += field * float(np.sqrt(variances[sample]))
    return result


def _deviation(image: Tensor) -> Tensor:
    return image.std(_VOXELS, keepdim=True, correction=0)
