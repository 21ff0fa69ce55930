"""The only place that knows SimpleITK, which reads MetaImage and NRRD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.errors import GridError, UnreadableFileError
from flare_metrics.grid import Grid


def read_with_sitk(path: Path) -> tuple[NDArray[Any], Grid]:
    """Return array (z, y, x) and grid of a three-dimensional file that SimpleITK reads."""
    try:
        import SimpleITK
    except ImportError as error:
        raise ImportError(
            f"{path}: this format needs SimpleITK: pip install 'flare-metrics[formats]', "
            "or convert to .nii.gz"
        ) from error
    if not path.is_file():
        raise UnreadableFileError(path, "no such file", kind="unreadable")
    try:
        image: Any = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or ["unknown error"]
        raise UnreadableFileError(path, f"cannot be read: {lines[-1]}", kind="corrupt") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise GridError(
            path, "a label map has three axes and one value a voxel", found=f"{image.GetSize()}"
        )
    spacing = np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * spacing
    affine[:3, 3] = image.GetOrigin()
    # ITK's world is LPS, NIfTI's RAS: a pair may mix formats.
    affine[:2] *= -1
    array = SimpleITK.GetArrayFromImage(image)
    z, y, x = spacing[::-1].tolist()
    return array, Grid(array.shape, (z, y, x), affine[:, [2, 1, 0, 3]])
