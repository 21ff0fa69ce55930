"""The published lists of changes, as data."""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]

_SPATIAL: dict[str, Any] = {
    "rotation_p": 0.2,
    "rotation_degrees": (30.0, 30.0, 30.0),
    "in_plane_degrees": 180.0,
    "scale_p": 0.2,
    "scale": (0.7, 1.4),
}
_ELASTIC: dict[str, Any] = {"elastic_p": 0.2, "elastic_rms_voxels": (0.0, 3.0)}
_BRIGHTNESS: dict[str, Any] = {"brightness_p": 0.15, "brightness": (0.75, 1.25)}
_CONTRAST: dict[str, Any] = {"contrast_p": 0.15, "contrast": (0.75, 1.25)}
_GAMMA: dict[str, Any] = {"gamma_p": 0.3, "gamma": (0.7, 1.5), "gamma_inverted_p": 0.1}

PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "light": {**_SPATIAL, **_ELASTIC, **_BRIGHTNESS, **_GAMMA},
    "swift": {**_SPATIAL, **_ELASTIC, **_BRIGHTNESS, **_CONTRAST, **_GAMMA},
    "nnunet": {
        **_SPATIAL,
        **_BRIGHTNESS,
        **_CONTRAST,
        **_GAMMA,
        "mirror_axes": (0, 1, 2),
        "noise_p": 0.1,
        "noise_deviation": (0.0, 0.1),
        "blur_p": 0.2,
        "low_resolution_p": 0.25,
        "low_resolution": (0.5, 1.0),
    },
}
