"""What one DICOM slice says of itself.

DICOM writes points as (x, y, z) in LPS; this module is where they become (S, P, L), the order of
`Geometry`. Names, IDs, dates and sex are never read.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io._dicom_elements import Elements, PixelExtent, read_elements
from flare_io.errors import GeometryError, UnreadableVolumeError

__all__ = ["SliceHeader", "read_slice_header", "shown"]

_IMAGE_TYPE, _SOP_CLASS, _MODALITY = 0x00080008, 0x00080016, 0x00080060
_DESCRIPTION, _SERIES = 0x0008103E, 0x0020000E
_THICKNESS, _SLICE_STEP = 0x00180050, 0x00180088
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SAMPLES, _PHOTOMETRIC, _FRAMES = 0x00280002, 0x00280004, 0x00280008
_ROWS, _COLUMNS, _PIXEL_SPACING = 0x00280010, 0x00280011, 0x00280030
_ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_INTERCEPT, _SLOPE, _LOSSY = 0x00281052, 0x00281053, 0x00282110
_WANTED = frozenset(
    (
        _IMAGE_TYPE,
        _SOP_CLASS,
        _MODALITY,
        _DESCRIPTION,
        _SERIES,
        _THICKNESS,
        _SLICE_STEP,
        _POSITION,
        _ORIENTATION,
        _SAMPLES,
        _PHOTOMETRIC,
        _FRAMES,
        _ROWS,
        _COLUMNS,
        _PIXEL_SPACING,
        _ALLOCATED,
        _STORED,
        _HIGH_BIT,
        _SIGNED,
        _INTERCEPT,
        _SLOPE,
        _LOSSY,
    )
)
_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_LONGEST_SHOWN = 64
# Scanners write cosines with four to six digits.
_COSINE_TOLERANCE = 1e-3

# No scanner is a kilometer long; farther numbers are damage.
_FARTHEST_MM = 1e6

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """One file of a series; what the file does not state is None.

    ``axes`` has the world directions (S, P, L) of the (z, y, x) array axes as columns, orthonormal;
    its first column is the slice normal. ``step_mm`` is the stated distance of slices, or their
    thickness.
    """

    path: Path
    series: str
    description: str
    modality: str
    localizer: bool
    lossy: bool
    holds_image: bool
    syntax: str
    byte_order: str
    pixels: PixelExtent | None
    frames: int
    samples: int
    photometric: str
    matrix: tuple[int, int]
    bits: tuple[int, int, int]
    signed: bool
    slope: float | None
    intercept: float | None
    position: Vector | None
    axes: NDArray[np.float64] | None
    pixel_spacing_mm: tuple[float, float] | None
    step_mm: float | None

    @property
    def name(self) -> str:
        """The file's name, fit for a message."""
        return shown(self.path.name)

    @property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept; 1 and 0 where the file states none."""
        return (
            1.0 if self.slope is None else self.slope,
            0.0 if self.intercept is None else self.intercept,
        )


def shown(text: str) -> str:
    r"""Return a text from outside as one short line of printable characters.

    Examples
    --------
    >>> shown("a\nb/../c")
    'a\\nb/../c'
    """
    short = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
    return "".join(
        # Control and format characters could break a line or turn the reading direction.
        c if unicodedata.category(c)[0] != "C" else ascii(c)[1:-1]
        for c in short
    )


def read_slice_header(path: Path) -> SliceHeader:
    """Read one DICOM file's header.

    Raises
    ------
    UnreadableVolumeError
        If the file is cut or a number in it is none.
    GeometryError
        If the orientation is no pair of perpendicular unit vectors.
    """
    fields = _Fields(path, read_elements(path, _WANTED))
    rows, columns = fields.integer(_ROWS), fields.integer(_COLUMNS)
    allocated = fields.integer(_ALLOCATED)
    stored = fields.integer(_STORED) or allocated
    steps = fields.numbers(_SLICE_STEP, 1) or fields.numbers(_THICKNESS, 1)
    spacing = fields.numbers(_PIXEL_SPACING, 2)
    position = fields.numbers(_POSITION, 3)
    if position and max(map(abs, position)) > _FARTHEST_MM:
        raise GeometryError(
            path,
            f"ImagePositionPatient must lie within {_FARTHEST_MM:g} mm",
            found=str(position),
            kind="position",
        )
    slope, intercept = fields.numbers(_SLOPE, 1), fields.numbers(_INTERCEPT, 1)
    frames = fields.numbers(_FRAMES, 1)
    return SliceHeader(
        path=path,
        series=fields.text(_SERIES),
        description=fields.text(_DESCRIPTION),
        modality=fields.text(_MODALITY),
        localizer="LOCALIZER" in fields.text(_IMAGE_TYPE).upper().split("\\"),
        lossy=fields.text(_LOSSY) == "01",
        holds_image=bool(rows and columns) or fields.text(_SOP_CLASS) == _CT_STORAGE,
        syntax=fields.elements.syntax,
        byte_order=fields.elements.byte_order,
        pixels=fields.elements.pixels,
        frames=int(frames[0]) if frames else 1,
        samples=fields.integer(_SAMPLES) or 1,
        photometric=fields.text(_PHOTOMETRIC),
        matrix=(rows, columns),
        bits=(allocated, stored, fields.integer(_HIGH_BIT) or stored - 1),
        signed=fields.integer(_SIGNED) == 1,
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else None,
        position=np.array(position[::-1]) if position else None,
        axes=_axes(path, fields.numbers(_ORIENTATION, 6)),
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing else None,
        step_mm=abs(steps[0]) if steps else None,
    )


class _Fields:
    """Typed access to raw elements; empty values count as absent."""

    def __init__(self, path: Path, elements: Elements) -> None:
        self.path = path
        self.elements = elements

    def text(self, tag: int) -> str:
        return self.elements.values.get(tag, b"").decode("latin-1").strip("\0 \r\n")

    def integer(self, tag: int) -> int:
        value = self.elements.values.get(tag, b"")[:2]
        return int.from_bytes(value, "little" if self.elements.byte_order == "<" else "big")

    def numbers(self, tag: int, count: int) -> tuple[float, ...]:
        text = self.text(tag)
        if not text:
            return ()
        try:
            numbers = tuple(float(part) for part in text.split("\\"))
        except ValueError:
            numbers = ()
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise UnreadableVolumeError(
                self.path,
                f"element ({tag >> 16:04x},{tag & 0xFFFF:04x}) must hold {count} finite numbers",
                found=shown(text),
                kind="dicom",
            )
        return numbers


def _axes(path: Path, cosines: tuple[float, ...]) -> NDArray[np.float64] | None:
    if not cosines:
        return None
    right, down = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.array([np.linalg.norm(right), np.linalg.norm(down)])
    if np.abs(lengths - 1).max() > _COSINE_TOLERANCE or abs(right @ down) > _COSINE_TOLERANCE:
        raise GeometryError(
            path,
            "ImageOrientationPatient must be two perpendicular unit vectors",
            found=str([round(c, 6) for c in cosines]),
            kind="orientation",
        )
    right = right / lengths[0]
    down = down - (down @ right) * right
    down /= np.linalg.norm(down)
    return np.stack([np.cross(right, down), down, right], axis=1)[::-1]
