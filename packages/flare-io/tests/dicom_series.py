"""Synthetic CT series written with pydicom, which the reader under test never uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SERIES = "1.2.826.0.1.3680043.10.1"
PATIENT = "Doe^Jane"
SLICES, ROWS, COLUMNS = 20, 12, 10
STEP_MM, PIXEL_MM = 2.5, (0.8, 0.7)
ORIGIN = (-40.0, -50.0, 100.0)


def ct_values(seed: int = 0) -> NDArray[np.int16]:
    """The (z, y, x) HU of the series, different in every voxel's neighborhood."""
    values = np.random.default_rng(seed).integers(-1024, 2000, (SLICES, ROWS, COLUMNS))
    return values.astype(np.int16)


def make_slice(k: int, hu: NDArray[Any], *, series: str = SERIES, **changes: Any) -> Dataset:
    """One slice; keyword arguments replace attributes, and None removes them."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{series}.{k + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta, data.preamble = meta, b"\0" * 128
    attributes: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{series}.{k + 1}",
        "SeriesInstanceUID": series,
        "SeriesDescription": "portal venous",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": PATIENT,
        "PatientID": "ID-4711",
        "PatientSex": "F",
        "SliceThickness": "2.5",
        "ImagePositionPatient": [ORIGIN[0], ORIGIN[1], ORIGIN[2] + STEP_MM * k],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": list(PIXEL_MM),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "PixelData": (hu.astype(np.int32) + 1024).astype("<u2").tobytes(),
    }
    for name, value in (attributes | changes).items():
        if value is not None:
            setattr(data, name, value)
    return data


def make_series(seed: int = 0, **changes: Any) -> list[Dataset]:
    """All slices of one series, in ascending position."""
    return [make_slice(k, hu, **changes) for k, hu in enumerate(ct_values(seed))]


def write_slices(
    folder: Path, slices: Sequence[Dataset], *, names: Sequence[str] | None = None
) -> Path:
    """Write slices as IMG0001.dcm and so on, or under the names given."""
    folder.mkdir(exist_ok=True)
    for k, data in enumerate(slices):
        path = folder / (names[k] if names else f"IMG{k + 1:04d}.dcm")
        data.save_as(path, enforce_file_format=True)
    return folder


def tilted_position(k: int, degrees: float = 15.0) -> list[float]:
    """Position of slice k of a gantry tilted about the x axis: the table moves along z only."""
    # The slice planes are tilted, so the normal is (0, -sin, cos); table steps of STEP_MM / cos
    # give slices STEP_MM apart along the normal.
    return [ORIGIN[0], ORIGIN[1], ORIGIN[2] + k * STEP_MM / float(np.cos(np.radians(degrees)))]


def tilted_orientation(degrees: float = 15.0) -> list[float]:
    """Row and column cosines of that gantry."""
    angle = np.radians(degrees)
    return [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]


def write_fault(row: str, folder: Path) -> Path:
    """Write the folder of a row of the catalogue of faults."""
    slices = make_series()
    names = [f"IMG{k + 1:04d}.dcm" for k in range(SLICES)]
    if row in ("d01", "d02"):
        gone = {"d01": (10,), "d02": (4, 10, 11)}[row]
        slices = [data for k, data in enumerate(slices) if k not in gone]
        names = [name for k, name in enumerate(names) if k not in gone]
    elif row == "d03":
        slices, names = [*slices, slices[7]], [*names, "COPY.dcm"]
    elif row == "d04":
        other = make_slice(7, ct_values(1)[7])
        slices, names = [*slices, other], [*names, "OTHER.dcm"]
    elif row == "d05":
        for k, data in enumerate(slices):
            if k >= 10:
                data.ImagePositionPatient[2] += 0.8
    elif row == "d06":
        for k, data in enumerate(slices):
            data.ImagePositionPatient[2] += 0.004 * (-1) ** k
    elif row == "d07":
        scout = make_slice(0, ct_values(2)[0], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
        slices, names = [scout, *slices], ["SCOUT.dcm", *names]
    elif row == "d08":
        slices[5] = make_slice(5, ct_values()[5, :, :8])
    elif row == "d09":
        others = make_series(3, series=SERIES + ".9", SeriesDescription="arterial")[:6]
        slices, names = [*slices, *others], [*names, *(f"B{k}.dcm" for k in range(6))]
    elif row == "d10":
        for k, data in enumerate(slices):
            data.ImagePositionPatient = tilted_position(k)
            data.ImageOrientationPatient = tilted_orientation()
    elif row == "d11":
        for k, data in enumerate(slices):
            data.RescaleSlope, data.RescaleIntercept = str(1 + k % 3), str(-1024 - k)
    elif row == "d12":
        for data in slices:
            del data.RescaleSlope, data.RescaleIntercept
    elif row == "d13":
        del slices[6].ImagePositionPatient
    elif row == "d14":
        del slices[6].PixelData
    elif row == "d15":
        slices[6].PixelData = slices[6].PixelData[:100]
    elif row == "torn":
        write_slices(folder, slices)
        torn = folder / names[6]
        torn.write_bytes(torn.read_bytes()[:-100])
        return folder
    elif row == "lone":
        slices, names = slices[:1], names[:1]
    return write_slices(folder, slices, names=names)
