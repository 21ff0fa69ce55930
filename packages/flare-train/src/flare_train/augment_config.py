"""How often and how far a training patch is changed, and the published lists as presets."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from flare_train.augment_presets import PRESETS
from flare_train.settings import Range, require, require_range, require_share

__all__ = ["AugmentConfig"]

Size = tuple[int, int, int]
Spacing = tuple[float, float, float]

# nnU-Net turns and scales within the plane when the patch is this many times longer than deep.
_ANISOTROPIC = 3
# nnU-Net reads for a scale of 1 / 0.85, not for its largest: reading more would cost too much.
_LARGEST_MARGIN = 1 / 0.85


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How often and how far a patch is changed; ``*_p`` are probabilities.

    Parameters
    ----------
    in_plane : {"auto", "always", "never"}
        Whether rotation, scaling, elastic change and low resolution leave the z axis alone.
        ``"auto"`` is nnU-Net's rule ("dummy 2D"): when max(patch) / patch_z > 3.
    rotation_p, rotation_degrees : float, (float, float, float)
        Largest angle about the z, y and x axis, drawn evenly in both directions.
    in_plane_degrees : float
        Largest angle about z when changes stay in the plane; then it replaces the three angles.
    scale_p, scale : float, (low, high)
        Factor on the distance between the points where the image is read, the same along all axes,
        drawn evenly: 1.4 shows more of the body, all of it smaller.
    elastic_p : float
        How often a smooth random displacement is put on top.
    elastic_sigma_voxels, elastic_rms_voxels : (low, high)
        Width of the Gaussian that smooths white noise into the displacement, and the root mean
        square of the displacement along each axis.
    mirror_axes : tuple of int
        Axes of (z, y, x) that are mirrored, each with probability 1/2.
    noise_p, noise_deviation : float, (low, high)
        Standard deviation of the Gaussian noise that is added.
    blur_p, blur_channel_p, blur_sigma_voxels : float, float, (low, high)
        Gaussian blur of a sample, and of each channel of such a sample; sigma is drawn per axis.
    brightness_p, brightness : float, (low, high)
        Factor on all intensities of a channel.
    shift_p, shift : float, (low, high)
        Added to all intensities of a channel.
    contrast_p, contrast : float, (low, high)
        Factor on the distance to the mean of a channel; its range is kept.
    low_resolution_p, low_resolution_channel_p, low_resolution : float, float, (low, high)
        Sample, and channel of such a sample, whose voxels are thinned to this share along each axis
        and interpolated back.
    gamma_p, gamma : float, (low, high)
        Exponent on intensities scaled to [0, 1]; mean and deviation of a channel are kept.
    gamma_inverted_p : float
        The same on the negative image.

    Notes
    -----
    Default: nothing. Factors (brightness, contrast, gamma) whose range has 1 inside are below and
    above 1 equally often, as in nnU-Net. See `preset` for the published lists.
    """

    in_plane: Literal["auto", "always", "never"] = "auto"
    rotation_p: float = 0.0
    rotation_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    in_plane_degrees: float = 0.0
    scale_p: float = 0.0
    scale: Range = (1.0, 1.0)
    elastic_p: float = 0.0
    elastic_sigma_voxels: Range = (9.0, 13.0)
    elastic_rms_voxels: Range = (0.0, 0.0)
    mirror_axes: tuple[int, ...] = ()
    noise_p: float = 0.0
    noise_deviation: Range = (0.0, 0.0)
    blur_p: float = 0.0
    blur_channel_p: float = 0.5
    blur_sigma_voxels: Range = (0.5, 1.0)
    brightness_p: float = 0.0
    brightness: Range = (1.0, 1.0)
    shift_p: float = 0.0
    shift: Range = (0.0, 0.0)
    contrast_p: float = 0.0
    contrast: Range = (1.0, 1.0)
    low_resolution_p: float = 0.0
    low_resolution_channel_p: float = 0.5
    low_resolution: Range = (1.0, 1.0)
    gamma_p: float = 0.0
    gamma: Range = (1.0, 1.0)
    gamma_inverted_p: float = 0.0

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            if entry.name.endswith("_p"):
                require_share(f"augment.{entry.name}", getattr(self, entry.name))
        for name in ("scale", "brightness", "contrast", "gamma", "blur_sigma_voxels"):
            require_range(f"augment.{name}", getattr(self, name), low=0.01)
        for name in ("noise_deviation", "elastic_rms_voxels"):
            require_range(f"augment.{name}", getattr(self, name), low=0.0)
        require_range("augment.elastic_sigma_voxels", self.elastic_sigma_voxels, low=1.0)
        require_range("augment.low_resolution", self.low_resolution, low=0.01)
        require(
            self.low_resolution[1] <= 1,
            "augment.low_resolution",
            "end at 1 or below",
            self.low_resolution,
        )
        require_range("augment.shift", self.shift)
        angles = (*self.rotation_degrees, self.in_plane_degrees)
        require(
            len(angles) == 4 and min(angles) >= 0,
            "augment.rotation_degrees and in_plane_degrees",
            "be three angles and one >= 0",
            angles,
        )
        known = ("auto", "always", "never")
        require(self.in_plane in known, "augment.in_plane", f"be one of {known}", self.in_plane)
        require(
            set(self.mirror_axes) <= {0, 1, 2}
            and len(set(self.mirror_axes)) == len(self.mirror_axes),
            "augment.mirror_axes",
            "name axes of 0 (z), 1 (y), 2 (x), each once",
            self.mirror_axes,
        )

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return a published list of changes.

        Parameters
        ----------
        name : {"none", "light", "nnunet", "swift"}
            ``"nnunet"``: the training of nnU-Net v2, mirroring on all axes, no elastic change.
            ``"swift"``: S1's net for export: elastic change, rotation, scaling, brightness,
            contrast and gamma as printed; no mirroring. ``"light"``: S4's student: as ``"swift"``
            without contrast. ``"none"``: nothing.

        Raises
        ------
        ValueError
            If there is no such preset; the nearest name is given.

        Notes
        -----
        S1 and S4 print which changes they make but no ranges; the ranges are nnU-Net's. Those of
        the elastic change are the ones nnU-Net v1 holds ready: its noise of sigma 9 to 13 voxels
        with a factor of 0 to 200 in the plane has a root mean square of 0 to 3 voxels.

        Examples
        --------
        >>> AugmentConfig.preset("swift").mirror_axes, AugmentConfig.preset("nnunet").mirror_axes
        ((), (0, 1, 2))
        """
        if name not in PRESETS:
            near = difflib.get_close_matches(name, PRESETS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"augment preset must be one of {sorted(PRESETS)}, got {name!r}{hint}")
        return cls(**PRESETS[name])

    def stays_in_plane(self, patch: Sequence[int]) -> bool:
        """Return whether spatial changes leave the z axis alone at this patch size.

        Examples
        --------
        >>> config = AugmentConfig()
        >>> config.stays_in_plane((32, 128, 192)), config.stays_in_plane((64, 192, 192))
        (True, False)
        """
        if self.in_plane == "auto":
            return max(patch) / patch[0] > _ANISOTROPIC
        return self.in_plane == "always"

    def largest_angles(self, patch: Sequence[int]) -> tuple[float, float, float]:
        """Return the largest angle in degrees about z, y and x at this patch size."""
        if self.stays_in_plane(patch):
            return (self.in_plane_degrees, 0.0, 0.0)
        return self.rotation_degrees

    def source_patch(self, patch: Size, spacing_mm: Spacing = (1.0, 1.0, 1.0)) -> Size:
        """Return the size to read so that most spatial changes show no border.

        Parameters
        ----------
        patch : (int, int, int)
            Size that the net sees, along (z, y, x).
        spacing_mm : (float, float, float), optional
            Voxel size, as rotations are rigid in millimeters.

        Returns
        -------
        (int, int, int)
            At least `patch`; equal to it where nothing moves.

        Notes
        -----
        nnU-Net's rule (`compute_initial_patch_size`), which it applies in voxels: the corner of the
        patch is turned by the largest angle, at most 90 degrees, about one axis at a time, and the
        largest coordinates are divided by 0.85. Larger scales than 1 / 0.85 repeat the border. An
        elastic change alone adds two root mean squares on each side.

        Examples
        --------
        >>> AugmentConfig.preset("nnunet").source_patch((32, 128, 192))
        (32, 225, 225)
        >>> AugmentConfig.preset("nnunet").source_patch((128, 128, 128))
        (205, 205, 205)
        """
        z, y, x = (size * step for size, step in zip(patch, spacing_mm, strict=True))
        limits = self.largest_angles(patch) if self.rotation_p > 0 else (0.0, 0.0, 0.0)
        about_z, about_y, about_x = (math.radians(min(90.0, angle)) for angle in limits)
        in_plane = self.stays_in_plane(patch)
        if in_plane:
            turned = (z, _turned(y, x, about_z), _turned(x, y, about_z))
        else:
            turned = (_turned(z, y, about_x), _turned(y, x, about_z), _turned(x, z, about_y))
        margin = min(self.scale[1], _LARGEST_MARGIN) if self.scale_p > 0 else 1.0
        wave = 2 * math.ceil(2 * self.elastic_rms_voxels[1]) if self.elastic_p > 0 else 0
        sizes = list(patch)
        for axis in range(1 if in_plane else 0, 3):
            # A hair is added: 160 mm / 0.8 mm are 200 voxels, not 199.
            enlarged = int(turned[axis] / spacing_mm[axis] * margin + 1e-6)
            sizes[axis] = max(enlarged, patch[axis] + wave)
        return sizes[0], sizes[1], sizes[2]


def _turned(along: float, across: float, angle: float) -> float:
    """How far the corner (along, across) reaches along its first axis when turned."""
    return max(along, along * math.cos(angle) + across * math.sin(angle))
