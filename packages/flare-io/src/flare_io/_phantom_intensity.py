"""Hounsfield units of the phantom's materials, and the physics between patient and picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Phase", "Scanner", "blur_points", "draw_materials", "finish_image"]

# Mean and spread between cases in the portal-venous phase; training.md of the project's sources,
# C1.4.
_PORTAL = {
    "liver": (110.0, 15.0),
    "spleen": (120.0, 15.0),
    "pancreas": (95.0, 15.0),
    "right adrenal gland": (75.0, 15.0),
    "gallbladder": (12.0, 8.0),
    "esophagus": (40.0, 12.0),
    "stomach": (75.0, 12.0),
    "stomach fluid": (35.0, 15.0),
    "duodenum": (55.0, 20.0),
}
_FIXED = {
    "outside": -1000.0,
    "fat": -100.0,
    "muscle": 55.0,
    "rib": 450.0,
    "cortex": 750.0,
    "marrow": 190.0,
    "disc": 85.0,
    "canal": 20.0,
    "lung": -850.0,
    "air": -950.0,
    "sinus": -70.0,
    "stool": 35.0,
    "table": 120.0,
    "table core": -900.0,
}
# Without contrast the vessels and the kidneys look alike and the parenchyma is darker.
_NATIVE = {
    "liver": 58.0,
    "spleen": 48.0,
    "pancreas": 42.0,
    "right adrenal gland": 35.0,
    "stomach": 40.0,
}


@dataclass(frozen=True)
class Phase:
    """Contrast phase: a name, and the latent that moves aorta, kidneys and vena cava together."""

    name: str
    latent: float


@dataclass(frozen=True)
class Scanner:
    """What a center's scanner does to the picture.

    Parameters
    ----------
    noise_hu : float
        Standard deviation of the noise.
    grain_voxels : float
        Width of the noise kernel in the slice plane.
    slice_thickness_mm : float
        Slice thickness.
    streaks : float
        Strength of streaks between dense objects, as a share of their attenuation.
    """

    noise_hu: float
    grain_voxels: float
    slice_thickness_mm: float
    streaks: float


def draw_materials(
    rng: np.random.Generator, *, native_share: float
) -> tuple[Phase, dict[str, float]]:
    """Draw the contrast phase and the mean HU of every material of one case.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the draw.
    native_share : float
        Probability of a scan without contrast.
    """
    native = bool(rng.uniform() < native_share)
    latent = float(np.clip(rng.normal(), -2, 2))
    spread = {name: float(np.clip(rng.normal(), -2, 2)) for name in (*_PORTAL, "kidney", "cava")}
    values = dict(_FIXED)
    for name, (mean, deviation) in _PORTAL.items():
        if native and name in _NATIVE:
            mean, deviation = _NATIVE[name], 0.35 * deviation
        values[name] = mean + deviation * spread[name]
    if native:
        values["aorta"] = 44.0 + 2 * latent
        values["inferior vena cava"] = 42.0 + 2 * latent
        values["right kidney"] = 36.0 + 2 * spread["kidney"]
        values["medulla"] = values["right kidney"] - 3.0
    else:
        values["aorta"] = 160.0 + 38.0 * latent + 6.0 * spread["cava"]
        values["inferior vena cava"] = 135.0 + 26.0 * latent + 10.0 * spread["cava"]
        values["right kidney"] = 190.0 + 28.0 * latent + 8.0 * spread["kidney"]
        values["medulla"] = values["right kidney"] - 25.0 - 12.0 * max(latent, 0.0)
    values["heart"] = values["aorta"] - 5.0
    values["left kidney"] = values["right kidney"]
    values["left adrenal gland"] = values["right adrenal gland"]
    for k in range(4):
        values[f"bowel {k}"] = float(rng.uniform(20, 60))
    name = "native" if native else ("arterial" if latent > 0.8 else "portal")
    return Phase(name, 0.0 if native else latent), values


def finish_image(
    hu: NDArray[np.float32],
    *,
    scanner: Scanner,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Turn mean attenuation into a CT: point spread, slice profile, streaks, noise, integers.

    Parameters
    ----------
    hu : (z, y, x) float32 array
        Attenuation in HU averaged over each voxel. Overwritten.
    scanner : Scanner
        The physics.
    spacing_mm : (3,) float
        Voxel size.
    rng : numpy.random.Generator
        Source of noise.
    """
    image = blur_points(hu, thickness_voxels=scanner.slice_thickness_mm / spacing_mm[0])
    if scanner.streaks > 0:
        dense = np.clip(image - 300, 0, 1200).sum(2) * np.float32(spacing_mm[2] / 40.0)
        rays = rng.standard_normal(dense.shape, dtype=np.float32) * dense * scanner.streaks
        image += rays[:, :, None] * (image > -500)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter1d(noise, scanner.grain_voxels, axis=1, mode="wrap", truncate=3)
    noise = ndimage.gaussian_filter1d(noise, scanner.grain_voxels, axis=2, mode="wrap", truncate=3)
    image += noise * np.float32(scanner.noise_hu / max(float(noise.std()), 1e-6))
    np.clip(np.rint(image, out=image), -1024, 3071, out=image)
    return image.astype(np.int16)


def blur_points(image: NDArray[Any], *, thickness_voxels: float) -> NDArray[np.float32]:
    """Apply the point spread (0.6 voxel in the slice plane) and the slice profile.

    A slice thicker than the slice distance mixes its neighbors: a box of that many voxels.
    """
    for axis in (1, 2):
        image = ndimage.gaussian_filter1d(image, 0.6, axis=axis, mode="nearest", truncate=3)
    if thickness_voxels > 1.0:
        reach = int(np.ceil((thickness_voxels - 1) / 2))
        offsets = np.arange(-reach, reach + 1)
        half = thickness_voxels / 2
        weights = np.clip(half - np.abs(offsets) + 0.5, 0, 1)
        image = ndimage.correlate1d(image, weights / weights.sum(), axis=0, mode="nearest")
    return np.asarray(image, dtype=np.float32)
