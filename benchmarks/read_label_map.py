"""Time how a pair of label maps comes from .nii.gz files, and the whole command around it.

``python benchmarks/read_label_map.py`` draws 512 x 512 x 200 with 14 labels, prints one line a task
and keeps the figures in ``benchmarks/results/read_label_map.json``. The peer is nibabel as official
scripts use it (``get_fdata``, then a cast) and at its quickest (``dataobj``). Both sides end with
uint8 arrays in memory; the median of several calls counts, after one that warms the caches.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import nibabel
import numpy as np
from machine import describe_machine
from metrics_work import workload

from flare_metrics.files import read_label_map

RESULTS = Path(__file__).parent / "results" / "read_label_map.json"
PACKAGES = ("flare-metrics", "numpy", "nibabel")
COMMAND = "from flare_metrics.cli import main; raise SystemExit(main())"


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write prediction and reference of the smooth work, compressed as nibabel does."""
    prediction, reference, spacing = workload("smooth")
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    paths = folder / "prediction.nii.gz", folder / "reference.nii.gz"
    for path, array in zip(paths, (prediction, reference), strict=True):
        nibabel.save(nibabel.Nifti1Image(array.T, affine), path)
    return paths


def both_at_once(paths: tuple[Path, Path]) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(read_label_map, paths[0])
        read_label_map(paths[1])
        future.result()


def fresh(*arguments: str) -> None:
    """Run Python code or the command in a process of its own."""
    subprocess.run([sys.executable, "-c", *arguments], check=True, capture_output=True)


def median_times(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median time of each call in s."""
    return {name: median(_times(call, repeats + 1)[1:]) for name, call in calls.items()}


def _times(call: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        paths = write_pair(Path(name))
        first = paths[0]
        pair = ["score", "-p", str(paths[0]), "-r", str(paths[1])]
        times = median_times(
            {
                "one file": lambda: read_label_map(first),
                "one file, nibabel dataobj": lambda: np.asarray(nibabel.load(first).dataobj),
                "one file, nibabel get_fdata": lambda: (
                    nibabel.load(first).get_fdata().astype(np.uint8)
                ),
                "both files, two threads": lambda: both_at_once(paths),
                "process: import numpy": lambda: fresh("import numpy"),
                "process: import flare_metrics": lambda: fresh("import flare_metrics"),
                "process: import flare_metrics.folder": lambda: fresh(
                    "import flare_metrics.folder"
                ),
                "process: flare-metrics score, one pair": lambda: fresh(COMMAND, *pair),
            },
            repeats,
        )
        sizes = [path.stat().st_size for path in paths]
    for task, seconds in times.items():
        print(f"{seconds:7.3f} s   {task}")
    record = {
        "machine": describe_machine(*PACKAGES),
        "work": {"shape": [200, 512, 512], "labels": 14, "file_bytes": sizes, "repeats": repeats},
        "median_s": {task: round(seconds, 4) for task, seconds in times.items()},
    }
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
