"""Changes of intensity. All act in place on one channel of one sample, (z, y, x), and return it.

Statistics stay tensors on the device, so that no change waits for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flare_train.augment.random_fields import normal_field

__all__ = ["add_noise_", "change_contrast_", "change_gamma_"]

# Below this extent or deviation an image counts as constant (nnU-Net's own bound).
_SMALLEST = 1e-7


def change_contrast_(image: Tensor, factor: float) -> Tensor:
    """Multiply the distance to the mean, and clip to the range that the image had.

    Examples
    --------
    >>> line = torch.tensor([0.0, 4.0, 5.0, 11.0])  # mean 5
    >>> change_contrast_(line, 2.0).tolist()
    [0.0, 3.0, 5.0, 11.0]
    """
    mean = image.mean()
    low, high = torch.aminmax(image)
    return image.mul_(factor).add_(mean * (1 - factor)).clamp_(low, high)


def change_gamma_(image: Tensor, gamma: float, *, inverted: bool = False) -> Tensor:
    """Raise intensities, scaled to [0, 1], to a power; then restore mean and deviation.

    Parameters
    ----------
    image : floating tensor
        A constant image stays as it is.
    gamma : float
        Exponent > 0.
    inverted : bool, optional
        Work on the negative image, which spreads bright instead of dark intensities.
    """
    low, high = torch.aminmax(image)
    mean = image.mean()
    deviation = _deviation_around(image.sub_(mean))
    # image - mean lies in [low - mean, high - mean]; scaled so that the fixed end is 0.
    start, sign = (high, -1.0) if inverted else (low, 1.0)
    image.sub_(start - mean).mul_(sign / (high - low).clamp_min(_SMALLEST))
    # Rounding can leave a hair below 0, whose power is not a number.
    bent = image.clamp_min_(0.0).log2_().mul_(gamma).exp2_()
    bent.sub_(bent.mean())
    return bent.mul_(sign * deviation / _deviation_around(bent).clamp_min(_SMALLEST)).add_(mean)


def add_noise_(image: Tensor, deviation: float, *, seed: int) -> Tensor:
    """Add Gaussian noise; the field depends on the seed alone, also on another device."""
    return image.add_(normal_field(image.shape, seed=seed, device=image.device), alpha=deviation)


def _deviation_around(centered: Tensor) -> Tensor:
    flat = centered.reshape(-1)
    return (torch.dot(flat, flat) / flat.numel()).sqrt()
