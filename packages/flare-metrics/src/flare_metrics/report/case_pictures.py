"""The files of one case, read once more for its pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.case_result import CaseResult
from flare_metrics.errors import GridError, LabelError, UnreadableFileError
from flare_metrics.files import LabelMap, read_label_map
from flare_metrics.grid import Grid, describe_difference
from flare_metrics.nifti import read_nifti
from flare_metrics.protocols import Protocol
from flare_metrics.report.montage import Panel, disagreement_panels
from flare_metrics.report.orientation import array_axes
from flare_metrics.resample import resampled

__all__ = ["CasePictures", "case_pictures"]

# Hounsfield units of soft tissue.
_CT_WINDOW = (-160.0, 240.0)
_DARKER_THAN_FAT = -200
_IMAGE_SUFFIXES = ("_0000.nii.gz", ".nii.gz")
_FAULTS = (UnreadableFileError, GridError, LabelError, ImportError, OSError, ValueError)


@dataclass(frozen=True, kw_only=True)
class CasePictures:
    """The slices of a case.

    Parameters
    ----------
    panels : tuple of Panel
        Empty where there is nothing to show.
    remark : str
        Why there are none, or why there is no scan behind them.
    oriented : bool
        Whether the planes are those of the patient.
    """

    panels: tuple[Panel, ...] = ()
    remark: str = ""
    oriented: bool = False


def case_pictures(case: CaseResult, rules: Protocol, *, images: Path | None) -> CasePictures:
    """Draw the worst slices of a case; whatever hinders it is in the remark.

    Parameters
    ----------
    case : CaseResult
        Its files are read again.
    rules : Protocol
        Says how they are read.
    images : Path or None
        Folder of scans ``<case>_0000.nii.gz`` or ``<case>.nii.gz``.
    """
    if not (case.prediction and case.reference):
        return CasePictures(remark="No picture: it is not known where its files lie.")
    try:
        reference, oriented = _read(Path(case.reference), rules)
        prediction, _ = _read(Path(case.prediction), rules)
        prediction = _on_grid(prediction, reference.grid, rules)
        scan, remark = _scan(case, reference.grid, images)
        axes = array_axes(reference.grid.affine) if oriented else None
        panels = disagreement_panels(
            prediction.array,
            reference.array,
            spacing_mm=reference.grid.spacing_mm,
            names={label.id: label.name for label in rules.labels},
            image=scan,
            axes=axes,
            window=_CT_WINDOW if scan is None else _window(scan),
        )
    except _FAULTS as error:
        return CasePictures(remark=f"No picture: {error}")
    if not panels:
        return CasePictures(remark="No picture: neither file holds a label.")
    return CasePictures(panels=panels, remark=remark, oriented=axes is not None)


def _read(path: Path, rules: Protocol) -> tuple[LabelMap, bool]:
    """Return a label map, and whether its affine can be believed."""
    if rules.geometry == "compare":
        return read_label_map(path, cast=rules.cast), True
    try:
        # These protocols do not look at the affine, but a reader wants to see left and right.
        return read_label_map(path, cast=rules.cast), True
    except GridError:
        return read_label_map(path, cast=rules.cast, zooms_only=True), False


def _on_grid(prediction: LabelMap, grid: Grid, rules: Protocol) -> LabelMap:
    if rules.geometry == "compare" and describe_difference(prediction.grid, grid) is not None:
        # Such a case was scored because resampling was asked for.
        return resampled(prediction, grid)
    return replace(prediction, grid=grid) if prediction.grid.shape == grid.shape else prediction


def _scan(case: CaseResult, grid: Grid, images: Path | None) -> tuple[NDArray[Any] | None, str]:
    """Return the scan of a case, or None and why."""
    if images is None:
        return None, ""
    paths = [images / f"{case.case}{suffix}" for suffix in _IMAGE_SUFFIXES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None, f"No scan: neither {paths[0].name} nor {paths[1].name} is among the images."
    try:
        scan, place = read_nifti(path)
    except (UnreadableFileError, GridError) as error:
        return None, f"No scan: {error}"
    difference = describe_difference(place, grid)
    if difference is not None:
        return None, f"No scan: {path.name} lies on another grid than the reference: {difference}."
    return scan, ""


def _window(scan: NDArray[Any]) -> tuple[float, float]:
    """Return the window of soft tissue for a CT, and most of the values of anything else."""
    values = np.nan_to_num(scan[::3, ::3, ::3].astype(np.float32))
    if values.min() < _DARKER_THAN_FAT:
        return _CT_WINDOW
    low, high = np.percentile(values, [1, 99]).tolist()
    return low, max(high, low + 1)
