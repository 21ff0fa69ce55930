"""Time flare_io's checked NIfTI reading and writing beside SimpleITK's unchecked one, in one run.

``python benchmarks/read_nifti.py [FILE ...]`` prints one line per task, the ratio first, and keeps
the figures in ``benchmarks/results/read_nifti.json``. Without files it draws a CT-like volume of
160 x 512 x 512. Both sides end with a NumPy array in memory, and the best of several calls counts;
the calls of the two sides alternate, so that another process's load falls on both.
"""

from __future__ import annotations

import os

# SimpleITK reads NIfTI on one thread anyway.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from machine import describe_machine
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from flare_io.files import read_volume, write_volume
from flare_io.geometry import Geometry
from flare_io.volume import Volume

RESULTS = Path(__file__).parent / "results" / "read_nifti.json"
PACKAGES = ("flare-io", "numpy", "isal", "SimpleITK", "nibabel")
SHAPE = (160, 512, 512)


def ct_like(shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Return smooth structures with scanner noise in a body of soft tissue, air around it."""
    rng = np.random.default_rng(0)
    tissue = gaussian_filter(rng.normal(size=shape).astype(np.float32), 6)
    image = 40 + tissue / tissue.std() * 60 + rng.normal(0, 12, shape)
    y, x = np.ogrid[: shape[1], : shape[2]]
    body = ((y / shape[1] - 0.5) / 0.3) ** 2 + ((x / shape[2] - 0.5) / 0.42) ** 2 < 1
    image[:, ~body] = -1000
    return image.astype(np.int16)


def peer_read(path: Path) -> NDArray[Any]:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def nibabel_read(path: Path) -> NDArray[Any]:
    # A copy: the plain file would only be mapped.
    return np.asarray(nibabel.load(path).dataobj).copy()


def best_times(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the best time of each call in s, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def read_row(path: Path, name: str, repeats: int) -> dict[str, Any]:
    if not np.array_equal(read_volume(path).array, peer_read(path)):
        raise SystemExit(f"{path}: the two readers disagree")
    times = best_times(
        {
            "ours": lambda: read_volume(path),
            "SimpleITK": lambda: peer_read(path),
            "nibabel": lambda: nibabel_read(path),
        },
        repeats,
    )
    return {"task": f"read {name}", "bytes": path.stat().st_size, "time_s": times}


def write_row(volume: Volume, folder: Path, name: str, repeats: int) -> dict[str, Any]:
    ours, theirs = folder / f"ours{name}", folder / f"theirs{name}"
    image = SimpleITK.GetImageFromArray(volume.array)
    calls = {
        "ours": lambda: write_volume(volume, ours),
        "SimpleITK": lambda: SimpleITK.WriteImage(image, str(theirs)),
    }
    times = best_times(calls, repeats)
    size = {"ours": ours.stat().st_size, "SimpleITK": theirs.stat().st_size}
    return {"task": f"write and verify {name}", "bytes": size, "time_s": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows = [read_row(path, path.name, arguments.repeats) for path in arguments.files]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volume = Volume(ct_like(SHAPE), Geometry((2.5, 0.8, 0.8)))
        for suffix in (".nii.gz", ".nii"):
            path = folder / f"ct{suffix}"
            write_volume(volume, path)
            shown = f"drawn CT {' x '.join(map(str, SHAPE))} {suffix}"
            rows.append(read_row(path, shown, arguments.repeats))
        rows.append(write_row(volume, folder, ".nii.gz", 2))
        labels = volume.with_array((volume.array > 60).astype(np.uint8))
        rows.append(write_row(labels, folder, "-labels.nii.gz", 2))
    for row in rows:
        times = row["time_s"]
        row["ratio"] = round(times["SimpleITK"] / times["ours"], 2)
        rest = ", ".join(f"{key} {value:.3f} s" for key, value in times.items())
        print(f"{row['ratio']:5.2f} x SimpleITK   {row['task']}: {rest}", flush=True)
    record = {"machine": describe_machine(*PACKAGES), "rows": rows}
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
