"""What a model's convolutions are given, so that they can compute in int8."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_infer._json import read_object
from flare_infer.errors import ModelError

if TYPE_CHECKING:
    from flare_infer.layered_model import Model

__all__ = [
    "CALIBRATION_FILE",
    "Calibration",
    "calibration_sha256",
    "read_calibration",
    "write_calibration",
]

CALIBRATION_FILE = "int8.json"
_REMEDY = "run flare-infer calibrate -m MODEL -i SCANS first"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The ranges of a model without its overlays, which have their own.

    Parameters
    ----------
    weights_sha256 : str
        Of the weights that it holds for.
    windows : int
        How many were looked at.
    ranges : tuple of mappings
        For each member, from a convolution to the least and the largest number that it is given,
        each the mean over windows.
    """

    weights_sha256: str
    windows: int
    ranges: tuple[Mapping[str, tuple[float, float]], ...]


def read_calibration(model: Model) -> Calibration:
    """Return the calibration that lies in a model's folder.

    Raises
    ------
    ModelError
        If there is none, it is damaged, or it was made for other weights.
    """
    path = _path(model)
    content = read_object(path, remedy=_REMEDY)
    try:
        found = Calibration(
            weights_sha256=str(content["weights_sha256"]),
            windows=int(content["windows"]),
            ranges=tuple(
                {str(name): _range(ends) for name, ends in member.items()}
                for member in content["ranges"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(path, f"is no calibration: {error!r}", remedy=_REMEDY) from error
    if found.weights_sha256 != model.weights_sha256 or len(found.ranges) != model.members:
        raise ModelError(path, "was made for other weights than model.json names", remedy=_REMEDY)
    return found


def write_calibration(model: Model, calibration: Calibration) -> Path:
    """Write a calibration into a model's folder, whole or not at all, and return its path."""
    from flare_io.atomic import write_json

    content = {
        "weights_sha256": calibration.weights_sha256,
        "windows": calibration.windows,
        "ranges": [
            {name: list(ends) for name, ends in member.items()} for member in calibration.ranges
        ],
    }
    write_json(_path(model), content)
    return _path(model)


def calibration_sha256(model: Model) -> str:
    """Return the hash of a model's calibration, on which its labels in int8 depend."""
    try:
        return hashlib.sha256(_path(model).read_bytes()).hexdigest()
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise ModelError(_path(model), text, remedy=_REMEDY) from error


def _path(model: Model) -> Path:
    return model.folder / CALIBRATION_FILE


def _range(ends: Any) -> tuple[float, float]:
    low, high = (float(end) for end in ends)
    # Asked this way around, NaN is refused too.
    if not -1e30 < low < high < 1e30:
        raise ValueError(f"range {low} to {high}")
    return low, high
