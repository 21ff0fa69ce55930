"""Time flare_io's resampling beside scikit-image's, in one run on one thread.

``python benchmarks/resample.py`` prints one line per task, the ratio first, and keeps the figures
in ``benchmarks/results/resample.json``. Both sides work as nnU-Net calls them: float32 in and out,
float64 arithmetic. The scan is 300 x 512 x 512; `--quick` takes a third of each axis.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray
from skimage.transform import resize

from flare_io.resample import resample_image
from flare_io.resample_labels import resample_labels

RESULTS = Path(__file__).parent / "results" / "resample.json"
PACKAGES = ("flare-io", "numpy", "scipy", "scikit-image")


def peer_image(array: NDArray[Any], shape: tuple[int, ...], order: int) -> NDArray[Any]:
    """Resize one channel the way nnU-Net does."""
    result = np.zeros(shape, dtype=array.dtype)
    result[:] = resize(array.astype(float), shape, order, mode="edge", anti_aliasing=False)
    return result


def peer_labels(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Resize each label's mask linearly, take the largest share, ties to the nearest label."""
    nearest = resize(array.astype(float), shape, 0, mode="edge", anti_aliasing=False)
    best = np.zeros(shape)
    result = np.zeros(shape, array.dtype)
    for label in np.unique(array):
        mask = (array == label).astype(float)
        share = resize(mask, shape, 1, mode="edge", anti_aliasing=False)
        level = (share == best) & (share > 0) & (nearest == label)
        np.copyto(result, label, where=(share > best) | level)
        np.maximum(best, share, out=best)
    return result


def measured(call: Callable[[], NDArray[Any]], repeats: int) -> tuple[float, float, NDArray[Any]]:
    """Return the best time in s, the largest growth of memory in MiB, and the result."""
    times, growth = [], 0.0
    for _ in range(repeats):
        with Watch() as watch:
            start = time.perf_counter()
            result = call()
            times.append(time.perf_counter() - start)
        growth = max(growth, watch.growth_mib)
    return min(times), growth, result


class Watch:
    """Sample the resident memory every 5 ms."""

    growth_mib = 0.0

    def __enter__(self) -> Watch:
        self._done = threading.Event()
        self._before = resident_mib()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(0.005):
            self.growth_mib = max(self.growth_mib, resident_mib() - self._before)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def tasks(shape: tuple[int, ...], model: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return what is timed: name, ours, ours in float32, the peer's."""
    rng = np.random.default_rng(0)
    scan = rng.normal(0, 300, shape).astype(np.float32)
    channel = rng.normal(0, 5, model).astype(np.float32)
    thick = scan[::3]
    coarse = rng.integers(0, 15, [max(1, n // 25) for n in shape]).astype(np.uint8)
    labels = resample_labels(coarse, shape)

    def image(name: str, array: NDArray[Any], new: tuple[int, ...], order: int) -> dict[str, Any]:
        return {
            "name": name,
            "from": array.shape,
            "to": new,
            "ours": lambda: resample_image(array, new, order=order),
            "float32": lambda: resample_image(array, new, order=order, compute_dtype=np.float32),
            "peer": lambda: peer_image(array, new, order),
        }

    return [
        image("image to the model's grid, order 3", scan, model, 3),
        image("image to the model's grid, order 1", scan, model, 1),
        image("logits of one class back, order 1", channel, shape, 1),
        image("thick slices, order 3", thick, model, 3),
        {
            "name": "labels to the model's grid, 15 classes",
            "from": shape,
            "to": model,
            "ours": lambda: resample_labels(labels, model, rule="linear"),
            "peer": lambda: peer_labels(labels, model),
        },
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a third of each axis, nothing kept")
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours; the peer runs once")
    arguments = parser.parse_args()
    shape, model = (300, 512, 512), (250, 273, 273)
    if arguments.quick:
        shape, model = (100, 170, 170), (83, 91, 91)
    rows = []
    for task in tasks(shape, model):
        ours_s, ours_mib, ours = measured(task["ours"], arguments.repeats)
        peer_s, peer_mib, peer = measured(task["peer"], 1)
        row = {
            "task": task["name"],
            "from": list(task["from"]),
            "to": list(task["to"]),
            "ratio": round(peer_s / ours_s, 2),
            "ours_s": round(ours_s, 3),
            "peer_s": round(peer_s, 3),
            "ours_mib": round(ours_mib),
            "peer_mib": round(peer_mib),
            "largest_difference": float(np.abs(ours.astype(float) - peer).max()),
        }
        if "float32" in task:
            quick_s, _, _ = measured(task["float32"], arguments.repeats)
            row["float32_s"] = round(quick_s, 3)
            row["float32_ratio"] = round(peer_s / quick_s, 2)
        rows.append(row)
        print(
            f"{row['ratio']:6.2f} x  {task['name']:40}  ours {ours_s:6.2f} s {ours_mib:5.0f} MiB  "
            f"peer {peer_s:6.2f} s {peer_mib:5.0f} MiB  differ by {row['largest_difference']:.1e}",
            flush=True,
        )
    if not arguments.quick:
        record = {"machine": describe_machine(*PACKAGES), "tasks": rows}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
