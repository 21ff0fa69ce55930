"""All changes of a batch in their order."""

from __future__ import annotations

from torch import Tensor

from flare_train.augment.intensity import (
    add_noise,
    change_brightness,
    change_contrast,
    change_gamma,
    shift_intensity,
)
from flare_train.augment.parameters import BatchParameters
from flare_train.augment.spatial import transform_spatially

__all__ = ["augment"]


def augment(
    images: Tensor,
    targets: Tensor,
    parameters: BatchParameters,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Apply drawn parameters to a batch, on the device where it lies.

    Parameters
    ----------
    images : (b, c, z, y, x) floating tensor
        Not modified.
    targets : (b, z, y, x) integer tensor
        Moved with the images by nearest neighbor; intensities never touch it.
    parameters : BatchParameters
        From `draw_parameters`.
    spacing_mm : (float, float, float), optional
        Voxel size along (z, y, x).

    Returns
    -------
    images, targets : tensors like the given ones

    Notes
    -----
    Order: rotation and scaling, noise, brightness, shift, contrast, inverted gamma, gamma:
    nnU-Net's with the shift put in.
    """
    images, targets = transform_spatially(
        images, targets, angles=parameters.angles, scale=parameters.scale, spacing_mm=spacing_mm
    )
    images = add_noise(images, parameters.noise_variance, seeds=parameters.noise_seeds)
    images = change_brightness(images, parameters.brightness)
    images = shift_intensity(images, parameters.shift)
    images = change_contrast(images, parameters.contrast)
    images = change_gamma(images, parameters.gamma_inverted, inverted=True)
    return change_gamma(images, parameters.gamma), targets
