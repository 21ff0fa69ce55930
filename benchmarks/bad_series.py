"""Hand the same bad DICOM folders to SimpleITK's series reader and to flare_io.

``python benchmarks/bad_series.py`` prints one line per folder and keeps the table in
``benchmarks/results/bad_series.json``. The folders are those of flare-io's tests: 20 slices, each
row with one fault. What comes back is held against the voxels and the places that were written.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import SimpleITK
from machine import describe_machine

from flare_io.dicom import read_series
from flare_io.errors import GeometryError, UnreadableVolumeError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "bad_series.json"
PACKAGES = ("flare-io", "numpy", "SimpleITK", "pydicom")
series = SimpleNamespace(
    **runpy.run_path(str(ROOT / "packages" / "flare-io" / "tests" / "dicom_series.py"))
)

ROWS = {
    "sound": "nothing wrong",
    "d01": "1 slice missing",
    "d02": "3 slices missing",
    "d03": "the same slice twice",
    "d04": "two slices at one position",
    "d05": "uneven spacing",
    "d06": "jitter of 4 micrometers",
    "d07": "a scout of another orientation",
    "d08": "mixed matrix",
    "d09": "two series",
    "d10": "gantry tilt of 15 degrees",
    "d11": "rescale differs per slice",
    "d12": "no rescale",
    "d13": "one slice without position",
    "d14": "one slice without pixels",
    "d15": "one slice with short pixels",
    "torn": "one file cut short",
    "lone": "a single slice",
}
# Of these, some reading is right: the rest must be refused.
READABLE = frozenset({"sound", "d03", "d06", "d07", "d11"})


class Reading:
    """What a reader returned: (z, y, x) values and the place (S, P, L) of an index."""

    def __init__(self, array: Any, place: Callable[[Any], Any], notes: str) -> None:
        self.array, self.place, self.notes = array, place, notes


def read_with_simpleitk(folder: Path) -> Reading:
    """Read the folder as SimpleITK's documentation does: the first series that GDCM names."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image, printed = _with_stderr(reader.Execute)

    def place(index: Any) -> Any:
        return image.TransformContinuousIndexToPhysicalPoint([float(k) for k in index[::-1]])[::-1]

    warned = "stderr warning" if "WARNING" in printed.upper() else ""
    return Reading(SimpleITK.GetArrayFromImage(image), place, warned)


def read_with_flare(folder: Path) -> Reading:
    """Read the folder with the default policy."""
    volume = read_series(folder)
    return Reading(volume.array, volume.geometry.world_from_index, "; ".join(volume.notes))


def judge(row: str, read: Callable[[Path], Reading], folder: Path) -> dict[str, Any]:
    """Say what a reader did: right, refused, or wrong, in silence or after a warning."""
    try:
        reading = read(folder)
    except (GeometryError, UnreadableVolumeError, RuntimeError) as error:
        text = " ".join(str(error).replace(str(folder) + os.sep, "").split())
        text = text.replace(str(folder), "FOLDER")
        # SimpleITK's messages begin with where it was compiled.
        text = re.sub(r"^Exception thrown.*?\.[hc]xx:\d+: ", "", text)
        wanted = "refused, though readable" if row in READABLE else "refused"
        named = ".dcm" in text
        return {"outcome": wanted, "names_a_file": named, "message": text[:240]}
    fault = _fault(row, reading)
    if fault is None and row not in READABLE:
        return {"outcome": "chose for the user", "message": reading.notes or "no word said"}
    if fault is None:
        return {"outcome": "right", "message": reading.notes}
    outcome = "wrong after a warning" if reading.notes else "wrong in silence"
    return {"outcome": outcome, "fault": fault, "message": reading.notes}


def _fault(row: str, reading: Reading) -> str | None:
    """Compare with what was written; None where each voxel is in its place."""
    truth = series.ct_values().astype(float)
    if row == "d11":
        k = np.arange(len(truth))[:, None, None]
        truth = (truth + 1024) * (1 + k % 3) - 1024 - k
    if reading.array.shape != truth.shape:
        shape = " x ".join(map(str, reading.array.shape))
        step = np.linalg.norm(np.subtract(reading.place((1, 0, 0)), reading.place((0, 0, 0))))
        return f"{shape} voxels, slices {step:.3f} mm apart"
    corner = np.array(truth.shape) - 1
    written = np.array(series.ORIGIN[::-1]) + corner * (series.STEP_MM, *series.PIXEL_MM)
    if row == "d10":
        angle = np.radians(15.0)
        down = corner[1] * series.PIXEL_MM[0]
        written = np.array(series.tilted_position(int(corner[0]))[::-1])
        written += (down * np.sin(angle), down * np.cos(angle), corner[2] * series.PIXEL_MM[1])
    apart = float(np.linalg.norm(np.subtract(reading.place(tuple(corner)), written)))
    if apart > 0.05:
        return f"last voxel {apart:.1f} mm from its place"
    wrong = int((reading.array != truth).sum())
    return f"{wrong} of {truth.size} voxels wrong" if wrong else None


def _with_stderr(call: Callable[[], Any]) -> tuple[Any, str]:
    """Return a call's result and what native code wrote to stderr meanwhile."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            result = call()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return result, file.read().decode(errors="replace")


def main() -> int:
    table = []
    with tempfile.TemporaryDirectory() as scratch:
        for row, fault in ROWS.items():
            folder = series.write_fault(row, Path(scratch) / row)
            peer = judge(row, read_with_simpleitk, folder)
            ours = judge(row, read_with_flare, folder)
            table.append({"row": row, "fault": fault, "simpleitk": peer, "flare_io": ours})
            print(f"{row:6}{fault:32}SimpleITK: {_said(peer)}")
            print(f"{'':38}flare_io:  {_said(ours)}", flush=True)
    wrong = {
        reader: sum(line[reader]["outcome"].startswith("wrong") for line in table)
        for reader in ("simpleitk", "flare_io")
    }
    print(f"wrong of {len(table)}: SimpleITK {wrong['simpleitk']}, flare_io {wrong['flare_io']}")
    record = {"machine": describe_machine(*PACKAGES), "wrong": wrong, "rows": table}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 1 if wrong["flare_io"] else 0


def _said(verdict: dict[str, Any]) -> str:
    return ": ".join(
        text for text in (verdict["outcome"], verdict.get("fault", ""), verdict["message"]) if text
    )


if __name__ == "__main__":
    sys.exit(main())
