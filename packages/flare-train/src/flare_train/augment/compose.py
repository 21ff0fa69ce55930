"""All changes of a batch in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flare_train.augment.intensity import add_noise_, change_contrast_, change_gamma_
from flare_train.augment.parameters import BatchParameters
from flare_train.augment.resolution import blur_, lower_resolution_
from flare_train.augment.spatial import transform_spatially

__all__ = ["augment"]


def augment(
    images: Tensor,
    targets: Tensor,
    parameters: BatchParameters,
    *,
    patch: Sequence[int],
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Apply drawn parameters to a batch, on the device where it lies.

    Parameters
    ----------
    images : (b, c, *source) floating tensor
        Not modified. `source` is `patch`, or `AugmentConfig.source_patch` where a sample moves.
    targets : (b, *source) or (b, k, *source) integer tensor
        Moved with the images by nearest neighbor; intensities never touch it.
    parameters : BatchParameters
        From `draw_parameters`, for as many samples and channels as the images have.
    patch : (3,) int
        Size along (z, y, x) of what is returned.
    spacing_mm : (float, float, float), optional
        Voxel size along (z, y, x).

    Returns
    -------
    images : (b, c, *patch) tensor
        In float32 if the given ones are narrower.
    targets : (b, *patch) or (b, k, *patch) tensor
        The given tensors themselves if nothing was drawn and nothing is to be cut off.

    Raises
    ------
    ValueError
        If the parameters are for another number of samples or channels, or a source is too small.

    Notes
    -----
    Order: rotation, scaling, elastic change and mirroring in one sampling; then nnU-Net's order:
    noise, blur, brightness, shift, contrast, low resolution, inverted gamma, gamma.
    """
    if parameters.gamma.shape != tuple(images.shape[:2]):
        raise ValueError(
            f"parameters must be drawn for {images.shape[0]} samples of {images.shape[1]} channels,"
            f" got {parameters.gamma.shape}; pass batch and channels to draw_parameters"
        )
    given = images
    images, targets = transform_spatially(
        images, targets, parameters, patch=patch, spacing_mm=spacing_mm
    )
    for sample, channel in np.ndindex(*parameters.gamma.shape):
        if parameters.changes_intensity[sample, channel]:
            images = images.clone() if images is given else images
            _change_intensities_(images[sample, channel], parameters, sample, channel)
    return images, targets


def _change_intensities_(
    image: Tensor, parameters: BatchParameters, sample: int, channel: int
) -> None:
    here = sample, channel
    if _drawn(noise := parameters.noise[sample]):
        # Channels of a sample share the strength, not the field.
        add_noise_(image, float(noise), seed=parameters.field_seeds[sample] + channel)
    if _drawn(sigmas := parameters.blur[here]):
        blur_(image, sigmas.tolist())
    if _drawn(factor := parameters.brightness[here]):
        image.mul_(float(factor))
    if _drawn(offset := parameters.shift[here]):
        image.add_(float(offset))
    if _drawn(factor := parameters.contrast[here]):
        change_contrast_(image, float(factor))
    if _drawn(share := parameters.low_resolution[here]):
        lower_resolution_(image, float(share), in_plane=parameters.in_plane)
    if _drawn(gamma := parameters.gamma_inverted[here]):
        change_gamma_(image, float(gamma), inverted=True)
    if _drawn(gamma := parameters.gamma[here]):
        change_gamma_(image, float(gamma))


def _drawn(value: NDArray[np.float64]) -> bool:
    return not bool(np.isnan(value).any())
