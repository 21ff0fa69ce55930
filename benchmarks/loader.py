"""Time how fast patches leave the store, and how long training Swift waits for them.

``python benchmarks/loader.py`` fills a store with cases at Swift's spacing, reads patches of
32 x 128 x 192 with one worker from the mapped files and from memory, trains Swift on batches of two
with nnU-Net's augmentation on two threads, and keeps the figures in
``benchmarks/results/loader.json``. The cases are phantoms, or with ``--ct FILE`` crops of a real
scan. ``--quick`` leaves the training out and keeps nothing.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from numpy.typing import NDArray

from flare_io.files import read_volume
from flare_io.phantom import draw_phantom
from flare_io.resample import resample_image
from flare_io.resample_labels import resample_labels
from flare_nets.presets import preset
from flare_train.allocator import keep_freed_memory
from flare_train.augment_config import AugmentConfig
from flare_train.batches import build_batch, iterate_batches
from flare_train.caches import held_in_memory
from flare_train.config import TrainConfig
from flare_train.patch_reader import PatchReader
from flare_train.randomness import stream
from flare_train.sampling import place_patch
from flare_train.state import build_state
from flare_train.store import StoredCase, read_stored_case, write_stored_case
from flare_train.update import prepare_example, train_step

RESULTS = Path(__file__).parent / "results" / "loader.json"
PATCH = (32, 128, 192)
SHAPE = (95, 266, 266)
SPACING_MM = (4.0, 1.2, 1.2)
TARGETS = {"patches_per_s": 300.0, "wait_share": 0.05}


def phantom_arrays(index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a phantom drawn coarsely and brought to the grid, with noise as of a scanner."""
    small = draw_phantom(seed=0, index=index, preset="small")
    image = resample_image(small.image.array.astype(np.float32), SHAPE, order=1)
    noise = np.random.default_rng(index).normal(0, 12, SHAPE)
    return image + noise.astype(np.float32), resample_labels(small.truth.array, SHAPE)


def scan_arrays(path: Path, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a real scan, mirrored for every second case, with the phantom's labels."""
    scan = read_volume(path).array.astype(np.float32)
    image = resample_image(scan[:, :, :: -1 if index % 2 else 1], SHAPE, order=1)
    return image, phantom_arrays(index)[1]


def fill_store(folder: Path, count: int, ct: Path | None) -> None:
    """Write cases as preprocessing does: clipped and scaled as Swift's."""
    for index in range(count):
        image, labels = phantom_arrays(index) if ct is None else scan_arrays(ct, index)
        scaled = (np.clip(image, -972, 294) - 79.4) / 142.0
        write_stored_case(
            folder,
            StoredCase.from_arrays(
                f"case_{index}",
                scaled[np.newaxis],
                labels,
                spacing_mm=SPACING_MM,
                annotated=frozenset(range(1, 15)),
            ),
        )


def measure_patches(cases: Sequence[StoredCase], count: int) -> dict[str, float]:
    """Return patches per second, image to float32 and labels, of the clock and of the processor.

    The processor's seconds leave out what other work on the machine takes.
    """
    times = []
    for number in range(-20, count):
        rng = stream(0, abs(number), "benchmark")
        case = cases[int(rng.integers(len(cases)))]
        start = place_patch(case.shape, PATCH, rng=rng)
        began = time.perf_counter(), time.process_time()
        reader = PatchReader([case], [start], PATCH)
        reader.read("image", torch.float32)
        reader.read("labels")
        if number >= 0:
            times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    clock, processor = np.array(times).T
    return {
        "patches_per_s": round(count / float(clock.sum()), 1),
        "patches_per_processor_s": round(count / float(processor.sum()), 1),
        "median_ms": round(1000 * float(np.median(clock)), 3),
        "p90_ms": round(1000 * float(np.percentile(clock, 90)), 3),
    }


def training_shares(
    cases: Sequence[StoredCase], config: TrainConfig, iterations: int
) -> dict[str, Any]:
    """Train, and return where the time went; the first iteration is not counted."""
    keep_freed_memory()  # as the commands do
    state = build_state(config)
    spent: dict[str, float] = {"wait": 0.0, "augment": 0.0, "step": 0.0}
    batches = iterate_batches(
        lambda iteration: build_batch(cases, config, iteration), 0, iterations, workers=1
    )
    for number in range(iterations):
        marks = [time.perf_counter()]
        batch = next(batches)
        marks.append(time.perf_counter())
        # The step augments again: what that takes is told apart from the rest of it.
        prepare_example(batch, config, state.iteration, device=state.device, spacing_mm=SPACING_MM)
        marks.append(time.perf_counter())
        train_step(state, batch, config, spacing_mm=SPACING_MM)
        marks.append(time.perf_counter())
        wait, augment, step = np.diff(marks).tolist()
        print(f"  {number}: wait {wait:.3f} s, augment {augment:.3f}, step {step:.1f}", flush=True)
        if number:
            spent["wait"] += wait
            spent["augment"] += augment
            spent["step"] += step
    total = spent["wait"] + spent["step"]
    return {
        "iterations": iterations - 1,
        "seconds_per_iteration": round(total / (iterations - 1), 3),
        "wait_share": round(spent["wait"] / total, 5),
        "augment_share": round(spent["augment"] / total, 4),
        "target_wait_share": TARGETS["wait_share"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="no training, nothing kept")
    parser.add_argument("--ct", type=Path, help="a real scan instead of phantoms")
    parser.add_argument("--cases", type=int, default=4, help="cases in the store")
    parser.add_argument("--patches", type=int, default=400, help="patches of each measurement")
    parser.add_argument("--iterations", type=int, default=6, help="updates of Swift")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {
        "machine": describe_machine("flare-train", "blosc2", "numpy", "torch"),
        "images": "phantoms" if arguments.ct is None else arguments.ct.name,
        "patch": PATCH,
        "target_patches_per_s": TARGETS["patches_per_s"],
    }
    with tempfile.TemporaryDirectory() as folder:
        fill_store(Path(folder), arguments.cases, arguments.ct)
        ids = [f"case_{index}" for index in range(arguments.cases)]
        mapped = [read_stored_case(folder, id, in_memory=False) for id in ids]
        memory = held_in_memory(mapped)
        for name, cases in (("store", mapped), ("memory", memory)):
            record[name] = measure_patches(cases, arguments.patches)
            print(f"{name}: {record[name]}", flush=True)
        if arguments.quick:
            return 0
        torch.set_num_threads(2)
        config = TrainConfig(
            net=preset("swift").config,
            classes=tuple(range(15)),
            patch=PATCH,
            batch=2,
            augment=AugmentConfig.preset("nnunet"),
        )
        record["training"] = training_shares(mapped, config, arguments.iterations)
        print(f"training: {record['training']}", flush=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
