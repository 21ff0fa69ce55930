"""What a reader may accept, repair or refuse: one object for every command and function."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

__all__ = ["ReadPolicy"]

DEFAULT_MAX_VOXELS = 4 * 2**30


@dataclass(frozen=True, kw_only=True)
class ReadPolicy:
    """Rules of reading; the defaults refuse whatever would need a guess.

    Parameters
    ----------
    strict : bool
        Refuse what is otherwise only noted, such as bytes after the end of the data.
    allow_thin : bool
        Accept a volume of a single slice.
    volume_index : int or None
        Which volume of a 4-D file to take, from 0.
    nan_value : float or None
        Value in HU to put in place of NaN and infinite voxels; None refuses them.
    assume_orientation : str or None
        Three letters such as ``"LPS"``, the directions in which the file's x, y, z axes run, for
        files that state none; None refuses those files.
    use_transform : {"sform", "qform"} or None
        Which transform of a NIfTI file to believe where the two disagree; None refuses.
    any_spacing : bool
        Accept spacings that no CT scanner makes, outside 0.2 to 25 mm.
    max_voxels : int
        Refuse a header that promises more.
    series : str or None
        SeriesInstanceUID (or its beginning) to take from a DICOM folder that holds several;
        ``"none"`` for the one without a UID.
    fill_gaps : bool
        Interpolate missing DICOM slices linearly and say so in the notes.
    resample_z : bool
        Resample DICOM slices at uneven distances to even ones.
    fix_tilt : bool
        Shear a scan made with a tilted gantry to a straight grid.
    hu_check : bool
        Refuse an image whose values cannot be Hounsfield units; without it they are noted.
    hu_offset : float or None
        Added to an image's values, such as -1024 for a CT that was stored without a sign.
    """

    strict: bool = False
    allow_thin: bool = False
    volume_index: int | None = None
    nan_value: float | None = None
    assume_orientation: str | None = None
    use_transform: Literal["sform", "qform"] | None = None
    any_spacing: bool = False
    max_voxels: int = DEFAULT_MAX_VOXELS
    series: str | None = None
    fill_gaps: bool = False
    resample_z: bool = False
    fix_tilt: bool = False
    hu_check: bool = False
    hu_offset: float | None = None

    def __post_init__(self) -> None:
        if self.max_voxels < 1:
            raise ValueError(f"max_voxels must be positive, got {self.max_voxels}")
        if self.volume_index is not None and self.volume_index < 0:
            raise ValueError(f"volume_index must be >= 0, got {self.volume_index}")
        if self.use_transform not in (None, "sform", "qform"):
            raise ValueError(f"use_transform must be sform or qform, got {self.use_transform!r}")
        for name in ("nan_value", "hu_offset"):
            value = getattr(self, name)
            if value is not None and not isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")
        if self.assume_orientation is not None:
            letters = sorted(
                min(letter, _OPPOSITE.get(letter, letter)) for letter in self.assume_orientation
            )
            if letters != ["A", "I", "L"]:
                raise ValueError(
                    "assume_orientation must name one letter of each pair L/R, A/P, S/I, "
                    f"got {self.assume_orientation!r}"
                )


_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
