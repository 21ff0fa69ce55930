"""Time flare_fusion beside SimpleITK's LabelVoting, NumPy masks and a plain copy, on one thread.

``python benchmarks/fusion.py`` fuses three sources of 300 x 512 x 512 bytes by rule ``s1-labeled``,
prints one line for each comparison, the ratio first, and keeps the figures in
``benchmarks/results/fusion.json``. Ours and theirs take turns. Where CuPy and a GPU are at hand,
the same work is done there too, and measured by the bandwidth of a copy on the device. ``--quick``
halves each axis and keeps nothing.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from machine import describe_machine
from metrics_work import workload
from numpy.typing import NDArray
from resident import forget_peak, resident_mib

from flare_fusion import fuse

RESULTS = Path(__file__).parent / "results" / "fusion.json"
PACKAGES = ("flare-fusion", "numpy", "SimpleITK")
TARGETS = {"SimpleITK.LabelVoting": 10.0, "NumPy masks": 2.5}
DEVICE_TARGET = 0.5
Sources = dict[str, NDArray[np.uint8]]


def bodies(shape: tuple[int, ...], *, quick: bool) -> Sources:
    """Return two organ maps that differ by a millimeter, and a partial one with tumors."""
    prediction, reference, _ = workload("smooth", quick=quick)
    slices = np.minimum(np.arange(shape[0]) * reference.shape[0] // shape[0], len(reference) - 1)
    first, second = (
        np.where(labels == 14, 0, labels)[slices] for labels in (prediction, reference)
    )
    third = np.where(np.isin(reference, (1, 3, 14)), reference, 0)[slices]
    return {"A": first, "B": second, "partial": third}


def noise(shape: tuple[int, ...]) -> Sources:
    """Return labels without any background to pass over."""
    rng = np.random.default_rng(0)
    high = {"A": 14, "B": 14, "partial": 15}
    return {name: rng.integers(0, n, shape, dtype=np.uint8) for name, n in high.items()}


def with_masks(sources: Sources) -> NDArray[np.uint8]:
    """Fuse by the same rule, written with one mask after another."""
    a, b, referee = sources["A"], sources["B"], sources["partial"]
    fused = np.where(a == b, a, 0)
    only = (a > 0) & (b == 0)
    fused[only] = a[only]
    only = (b > 0) & (a == 0)
    fused[only] = b[only]
    differ = (a != b) & (a > 0) & (b > 0)
    vote = differ & ((referee == a) | (referee == b))
    fused[vote] = referee[vote]
    tumor = referee == 14
    fused[tumor] = 14
    return fused


def voting_seconds(sources: Sources) -> float:
    """Time SimpleITK's vote; another rule, the same reading and writing, its copies not counted."""
    images = [SimpleITK.GetImageFromArray(array) for array in sources.values()]
    start = time.perf_counter()
    SimpleITK.LabelVoting(images, 0)
    return time.perf_counter() - start


def ours(sources: Sources, **asked: bool) -> NDArray[Any]:
    """Fuse by `flare_fusion`."""
    return fuse(sources, rule="s1-labeled", **asked).label_map


def copied(sources: Sources) -> Sources:
    """Copy the sources and do nothing else."""
    return {name: array.copy() for name, array in sources.items()}


def timed(call: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that makes a call and returns how long it took."""

    def run() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return run


def memory_growth(sources: Sources) -> float:
    """Return the growth of peak memory in sizes of the output."""
    forget_peak()
    before = resident_mib("VmRSS")
    result = ours(sources)
    return (resident_mib() - before) * 2**20 / result.nbytes


def device_rows(sources: Sources, repeats: int) -> list[dict[str, Any]] | None:
    """Time the fusion on a GPU by the share of a copy's bandwidth; None where there is none."""
    try:
        cupy: Any = import_module("cupy")
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # Without a device CuPy raises errors of its own.
        print(f"no GPU: {type(error).__name__}", flush=True)
        return None
    there = {name: cupy.asarray(array) for name, array in sources.items()}
    if (cupy.asnumpy(ours(there)) != with_masks(sources)).any():
        raise SystemExit("the GPU gives other labels")
    voxels = sources["A"].nbytes
    whole = cupy.zeros(len(sources) * voxels, cupy.uint8)
    # Bytes read and written by each.
    calls: dict[str, tuple[int, Callable[[], Any]]] = {
        "copy on the GPU": (2 * whole.nbytes, whole.copy),
        "ours on the GPU": ((len(sources) + 1) * voxels, partial(ours, there)),
        "with provenance": ((len(sources) + 2) * voxels, partial(ours, there, provenance=True)),
        "with agreement": ((len(sources) + 1) * voxels, partial(ours, there, agreement=True)),
    }
    rates: dict[str, list[float]] = {key: [] for key in calls}
    for turn in range(repeats + 1):
        for key, (moved, call) in calls.items():
            cupy.cuda.Device().synchronize()
            start = time.perf_counter()
            call()
            cupy.cuda.Device().synchronize()
            # The first turn compiles.
            if turn:
                rates[key].append(moved / (time.perf_counter() - start) / 1e9)
    median = {key: statistics.median(values) for key, values in rates.items()}
    return [
        {
            "side": key,
            "share_of_copy": round(value / median["copy on the GPU"], 3),
            "target": DEVICE_TARGET if key == "ours on the GPU" else None,
            "gb_per_s": round(value, 1),
        }
        for key, value in median.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half of each axis, nothing kept")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each")
    arguments = parser.parse_args()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    shape = (150, 256, 256) if arguments.quick else (300, 512, 512)
    record: dict[str, Any] = {"machine": describe_machine(*PACKAGES), "works": {}}
    for name, sources in (
        ("bodies", bodies(shape, quick=arguments.quick)),
        ("noise", noise(shape)),
    ):
        if (ours(sources) != with_masks(sources)).any():
            raise SystemExit("the rule with masks gives other labels")
        calls = {
            "ours": timed(partial(ours, sources)),
            "ours, provenance and agreement": timed(
                partial(ours, sources, provenance=True, agreement=True)
            ),
            "copy of the sources": timed(partial(copied, sources)),
            "NumPy masks": timed(partial(with_masks, sources)),
            "SimpleITK.LabelVoting": partial(voting_seconds, sources),
        }
        times: dict[str, list[float]] = {key: [] for key in calls}
        for _ in range(arguments.repeats):
            for key, call in calls.items():
                times[key].append(call())
        median = {key: statistics.median(values) for key, values in times.items()}
        growth = memory_growth(sources)
        rows = [
            {
                "side": key,
                "ratio": round(median[key] / median["ours"], 2),
                "target": TARGETS.get(key),
                "median_s": round(median[key], 4),
                "least_s": round(min(values), 4),
                "most_s": round(max(values), 4),
            }
            for key, values in times.items()
        ]
        record["works"][name] = {"rows": rows, "memory_growth_in_outputs": round(growth, 3)}
        for row in rows:
            print(
                f"{row['ratio']:7.2f} x  {name:7} {row['side']:32} {row['median_s']:.3f} s "
                f"({row['least_s']:.3f} - {row['most_s']:.3f})"
            )
        print(f"{growth:7.2f} x the output: growth of memory, {name}", flush=True)
        on_device = device_rows(sources, arguments.repeats)
        record["works"][name]["gpu"] = on_device
        for row in on_device or ():
            print(f"{row['share_of_copy']:7.2f} of the copy, {row['side']}, {row['gb_per_s']} GB/s")
    if not arguments.quick:
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
