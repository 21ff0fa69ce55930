"""Where the voxels of a NIfTI file lie: one rule for each thing that its header may say.

NIfTI's world is (R, A, S) and its axes are x, y, z; both end here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io._nifti_header import NiftiHeader
from flare_io._orthonormal import straighten
from flare_io.errors import GeometryError
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy

__all__ = ["affine_ras", "nifti_geometry", "quaternion_of"]

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_NAMES = {1: "meters", 3: "micrometers"}
# Largest relative difference of spacings that float32 and text headers explain.
_SPACING_TOLERANCE = 1e-3
# Largest distance of corresponding corners of the two transforms, in voxels.
_CORNER_TOLERANCE = 0.1
_PLAUSIBLE_SPACING_MM = (0.2, 25.0)
_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_REVERSE = [2, 1, 0]
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


def nifti_geometry(
    header: NiftiHeader, *, path: Path, policy: ReadPolicy
) -> tuple[Geometry, tuple[str, ...]]:
    """Return the grid of a file, or refuse to guess it.

    Parameters
    ----------
    header : NiftiHeader
    path : Path
        For messages.
    policy : ReadPolicy
        ``assume_orientation``, ``use_transform`` and ``any_spacing`` count here.

    Returns
    -------
    geometry : Geometry
    notes : tuple of str
        What was converted or straightened.

    Raises
    ------
    GeometryError
        If spacing or transforms are missing, impossible or contradict each other.
    """
    spacing, notes = _spacing(header, path, policy)
    affine, chosen = _chosen_transform(header, spacing, path, policy)
    unit = _MM_PER_UNIT[header.unit]
    if unit != 1:
        notes.append(f"header is in {_UNIT_NAMES[header.unit]}, converted to mm")
    affine = np.vstack([affine[:3] * unit, [0, 0, 0, 1]])
    lps = _TO_LPS @ affine[:3]
    if abs(np.linalg.det(lps[:, :3])) < 1e-12:
        raise GeometryError(
            path,
            "the transform is singular: two axes run the same way",
            found=np.array2string(affine[:3, :3], precision=3).replace("\n", ""),
            remedy="export it again",
            kind="singular",
        )
    matrix = lps[_REVERSE][:, _REVERSE]
    direction, lengths, said = straighten(matrix, header.shape[::-1], path=path)
    if said:
        notes.append(said)
    _check_plausible(lengths, path, policy)
    geometry = Geometry(
        spacing_mm=(float(lengths[0]), float(lengths[1]), float(lengths[2])),
        origin=(float(lps[2, 3]), float(lps[1, 3]), float(lps[0, 3])),
        direction=tuple(map(tuple, (direction + 0.0).tolist())),
    )
    if chosen:
        notes.append(chosen)
    return geometry, tuple(notes)


def affine_ras(geometry: Geometry) -> NDArray[np.float64]:
    """Return the (4, 4) matrix from index (x, y, z, 1) to world (R, A, S, 1)."""
    matrix = np.eye(4)
    inner = geometry.affine[:3]
    matrix[:3, :3] = _TO_LPS @ inner[_REVERSE][:, _REVERSE]
    matrix[:3, 3] = _TO_LPS @ inner[_REVERSE, 3]
    return matrix + 0.0


def quaternion_of(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (b, c, d) of a proper (3, 3) rotation; the standard's a is the root of the rest."""
    m = rotation
    # The eigenvector of largest eigenvalue is exact to rounding for every rotation, half turns
    # included (Bar-Itzhack 2000).
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    values, vectors = np.linalg.eigh(k / 3.0)
    b, c, d, a = vectors[:, int(values.argmax())]
    return np.array([b, c, d]) * (1.0 if a >= 0 else -1.0)


def _spacing(
    header: NiftiHeader, path: Path, policy: ReadPolicy
) -> tuple[NDArray[np.float64], list[str]]:
    stored = header.pixdim[1:4]
    if not np.isfinite(stored).all() or (stored == 0).any():
        raise GeometryError(
            path,
            "spacing must be positive and finite",
            found=f"pixdim {_numbers(stored)} (x, y, z)",
            remedy="export it again",
            kind="spacing",
        )
    if header.unit not in _MM_PER_UNIT:
        raise GeometryError(
            path, "unknown unit of length", found=f"xyzt_units {header.unit}", kind="units"
        )
    if (stored > 0).all():
        return np.array(stored), []
    if policy.strict:
        raise GeometryError(path, "pixdim must be positive", found=_numbers(stored), kind="spacing")
    return np.abs(stored), [f"negative pixdim {_numbers(stored)} taken as a length"]


def _chosen_transform(
    header: NiftiHeader, spacing: NDArray[np.float64], path: Path, policy: ReadPolicy
) -> tuple[NDArray[np.float64], str]:
    """Return the (4, 4) transform that counts, and a note where somebody had to choose."""
    transforms = {}
    if header.qform_code > 0:
        transforms["qform"] = _qform(header, spacing, path)
    if header.sform_code > 0:
        transforms["sform"] = np.vstack([header.srow, [0, 0, 0, 1]])
        if not np.isfinite(header.srow).all():
            raise GeometryError(path, "sform must be finite", kind="orientation")
    if not transforms:
        return _assumed(spacing, path, policy)
    if len(transforms) == 1:
        name, affine = next(iter(transforms.items()))
        if name == "sform" and policy.use_transform != "sform":
            _check_lengths(affine, spacing, path)
        return affine, ""
    if policy.use_transform is not None:
        return transforms[policy.use_transform], f"took the {policy.use_transform} as asked"
    _check_agreement(header, transforms, spacing, path)
    return transforms["sform"], ""


def _qform(header: NiftiHeader, spacing: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    b, c, d = header.quaternion
    rest = 1.0 - (b * b + c * c + d * d)
    if not np.isfinite([b, c, d, *header.qoffset]).all() or rest < -1e-5:
        raise GeometryError(
            path,
            "qform must hold a unit quaternion",
            found=f"b, c, d = {_numbers(header.quaternion)}",
            kind="orientation",
        )
    # Below float32's rounding the angle is a half turn.
    a = np.sqrt(rest) if rest > 1e-7 else 0.0
    q = np.array([a, b, c, d]) / np.linalg.norm([a, b, c, d])
    a, b, c, d = q
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    handed = np.array([1.0, 1.0, -1.0 if header.pixdim[0] < 0 else 1.0])
    affine = np.eye(4)
    affine[:3, :3] = rotation * (spacing * handed)
    affine[:3, 3] = header.qoffset
    return affine


def _assumed(
    spacing: NDArray[np.float64], path: Path, policy: ReadPolicy
) -> tuple[NDArray[np.float64], str]:
    letters = policy.assume_orientation
    if letters is None:
        raise GeometryError(
            path,
            "states no orientation: qform_code and sform_code are 0",
            remedy="say where its x, y, z axes run, such as --assume-orientation LPS",
            kind="orientation",
        )
    z, y, x = (float(length) for length in spacing[::-1])
    affine = affine_ras(Geometry.from_axis_letters(letters, spacing_mm=(z, y, x)))
    return affine, f"orientation {letters} assumed as asked, origin 0"


def _check_lengths(sform: NDArray[np.float64], spacing: NDArray[np.float64], path: Path) -> None:
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    if (np.abs(lengths - spacing) <= _SPACING_TOLERANCE * spacing).all():
        return
    raise GeometryError(
        path,
        "sform and pixdim disagree about the spacing",
        found=f"sform {_numbers(lengths)}, pixdim {_numbers(spacing)} (x, y, z)",
        remedy="nibabel and SimpleITK would take the sform, tools that read pixdim or the qform "
        "the other; say --use-transform sform or correct the wrong one",
        kind="spacing",
    )


def _check_agreement(
    header: NiftiHeader,
    transforms: dict[str, NDArray[np.float64]],
    spacing: NDArray[np.float64],
    path: Path,
) -> None:
    codes = {name: _axis_letters(affine) for name, affine in transforms.items()}
    if codes["qform"] != codes["sform"]:
        raise GeometryError(
            path,
            "qform and sform disagree about the axes",
            found=f"qform {codes['qform']}, sform {codes['sform']}",
            remedy="nibabel and SimpleITK would take the sform, readers of rigid grids the "
            "qform; say --use-transform sform or qform",
            kind="orientation",
        )
    _check_lengths(transforms["sform"], spacing, path)
    steps = np.array(np.meshgrid(*[(0, n - 1) for n in header.shape], indexing="ij"))
    corners = np.vstack([steps.reshape(3, -1), np.ones(8)])
    apart = np.linalg.norm(
        ((transforms["qform"] - transforms["sform"]) @ corners)[:3], axis=0
    ).max()
    if apart > _CORNER_TOLERANCE * spacing.min():
        unit = _MM_PER_UNIT[header.unit]
        raise GeometryError(
            path,
            "qform and sform lie in different places",
            found=f"corners up to {apart * unit:.3g} mm apart, both {codes['sform']}",
            remedy="nibabel and SimpleITK would take the sform, readers of rigid grids the "
            "qform; say --use-transform sform or qform",
            kind="orientation",
        )


def _axis_letters(affine: NDArray[np.float64]) -> str:
    """Return where x, y and z run, such as ``"RAS"``; ``"?"`` for an axis without length."""
    letters = ""
    for column in affine[:3, :3].T:
        world = int(np.abs(column).argmax())
        letters += _LETTERS[world][0 if column[world] > 0 else 1] if column[world] else "?"
    return letters


def _check_plausible(lengths: NDArray[np.float64], path: Path, policy: ReadPolicy) -> None:
    low, high = _PLAUSIBLE_SPACING_MM
    if policy.any_spacing or ((lengths >= low) & (lengths <= high)).all():
        return
    raise GeometryError(
        path,
        f"spacing of a scan lies between {low} and {high} mm",
        found=f"{_numbers(lengths)} mm (z, y, x)",
        remedy="correct the unit in the header, or say --any-spacing",
        kind="spacing",
    )


def _numbers(values: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{float(value):.6g}" for value in values) + ")"
