"""Time the way from logits to the label map beside nnU-Net's export, in one run on one thread.

``python benchmarks/export.py --peer PEER_PYTHON`` makes logits of 15 classes on a grid of 250 x 273
x 273 (3 x 1.5 x 1.5 mm): a phantom's labels, smoothed, with noise; and, as the hard case, random
blobs, where borders are everywhere as with an untrained net. Each side turns them into labels of
300 x 512 x 512 in a process of its own: upsample, decide, undo the crop. One line is printed for
each, the ratio first, and ``benchmarks/results/infer_export.json`` keeps the figures. Ratios are of
processor seconds, so that other work on the machine does not count; wall seconds stand beside them.
`--quick` takes a third of each axis and keeps nothing.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, versions_in
from numpy.typing import NDArray
from resident import forget_peak, resident_mib

RESULTS = Path(__file__).parent / "results" / "infer_export.json"
PEER_SCRIPT = Path(__file__).with_name("export_peer.py")
CLASSES = 15
# Not so thick that nnU-Net takes the slices one by one, which is less work on both sides.
SOURCE_SPACING_MM = (2.5, 0.85, 0.85)
# One plane at each end is cut off as empty, so that there is a crop to undo.
CROPPED_SHAPE = (300, 512, 512)
MODEL_SHAPE, MODEL_SPACING_MM = (250, 273, 273), (3.0, 1.5, 1.5)
PEERS = {
    "nnU-Net, default resampling": "resample_data_or_seg_to_shape",
    "nnU-Net, torch resampling": "resample_torch_fornnunet",
}


def phantom_logits(shape: tuple[int, ...]) -> NDArray[np.float16]:
    """Return logits that rise and fall at the borders of a phantom's labels."""
    from scipy.ndimage import gaussian_filter

    from flare_io.phantom import draw_phantom

    factor = MODEL_SHAPE[0] / shape[0]
    z, y, x = (side * factor for side in MODEL_SPACING_MM)
    case = draw_phantom(
        seed=1, index=4, preset="stress", shape=(shape[0], shape[1], shape[2]), spacing_mm=(z, y, x)
    )
    rng = np.random.default_rng(0)
    logits = np.empty((CLASSES, *shape), dtype=np.float16)
    for label, channel in enumerate(logits):
        mask = (case.truth.array == label).astype(np.float32)
        noise = rng.normal(0, 0.5, shape).astype(np.float32)
        channel[...] = gaussian_filter(mask, 1.0) * 20 - 10 + noise
    return logits


def random_logits(shape: tuple[int, ...]) -> NDArray[np.float16]:
    """Return smooth random logits in which every class occurs everywhere."""
    from flare_io.resample import resample_image

    rng = np.random.default_rng(0)
    small = tuple(max(2, n // 14) for n in shape)
    coarse = rng.normal(0, 3, (CLASSES, *small)).astype(np.float32)
    return np.stack([resample_image(each, shape, order=1) for each in coarse]).astype(np.float16)


CASES = {"phantom": phantom_logits, "random": random_logits}


def our_labels(logits: NDArray[Any], case: dict[str, Any], mode: str) -> NDArray[Any]:
    """Return the label map of logits as the predictor makes it."""
    from flare_infer.heads import Head
    from flare_infer.upsample import upsampled_labels
    from flare_io.resample import axis_operator

    head = Head(labels=tuple(range(CLASSES)), rivals=tuple(range(CLASSES)))
    z, y, x = (
        axis_operator(a, b, 1) for a, b in zip(logits.shape[1:], case["cropped_shape"], strict=True)
    )
    labels = np.zeros(case["source_shape"], dtype=np.uint8)
    labels[1:-1] = upsampled_labels(logits, (z, y, x), head, half=mode == "exact")
    return labels


def run_ours(folder: Path, mode: str) -> None:
    """Be our side's process: read logits, write labels and what they took."""
    import flare_infer.upsample  # noqa: F401 -- loaded before the clock starts, as at the peer's

    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    logits = np.load(folder / "logits.npy")
    if mode == "fast":
        logits = logits.astype(np.float32)
    forget_peak()
    before = resident_mib("VmRSS")
    start, processor = time.perf_counter(), time.process_time()
    labels = our_labels(logits, case, mode)
    record = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - processor}
    record["extra_mib"] = resident_mib("VmHWM") - before
    np.save(folder / "labels.npy", labels)
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


def side(command: list[str], folder: Path) -> tuple[dict[str, float], NDArray[Any]]:
    """Run one side in a fresh process and return its record and labels."""
    subprocess.run([*command, str(folder)], check=True)
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return record, np.load(folder / "labels.npy")


def best_of(command: list[str], folder: Path, repeats: int) -> tuple[dict[str, float], Any]:
    """Return the run with the least processor time."""
    runs = [side(command, folder) for _ in range(repeats)]
    return min(runs, key=lambda run: run[0]["cpu_s"])


def compare(name: str, folder: Path, peer: str, repeats: int) -> list[dict[str, Any]]:
    """Return the rows of one case, and print them."""
    us = [sys.executable, __file__, "--side"]
    ours = {mode: best_of([*us, mode], folder, repeats) for mode in ("exact", "fast")}
    rows = []
    for label, function in PEERS.items():
        theirs, expected = best_of([peer, str(PEER_SCRIPT), function], folder, 1)
        for mode, (record, labels) in ours.items():
            row = {
                "logits": name,
                "peer": label,
                "mode": mode,
                "ratio": round(theirs["cpu_s"] / record["cpu_s"], 1),
                "ours": {key: round(value, 2) for key, value in record.items()},
                "theirs": {key: round(value, 2) for key, value in theirs.items()},
                "voxels": int(labels.size),
                "differing_voxels": int((labels != expected).sum()),
            }
            rows.append(row)
            print(
                f"{row['ratio']:6.1f} x  {name:8} {mode:6} {record['cpu_s']:6.2f} s "
                f"{record['extra_mib']:5.0f} MiB   {label}: {theirs['cpu_s']:6.1f} s "
                f"{theirs['extra_mib']:6.0f} MiB   {row['differing_voxels']} voxels differ",
                flush=True,
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=("exact", "fast"), help=argparse.SUPPRESS)
    parser.add_argument("--peer", help="a Python that has nnunetv2")
    parser.add_argument("--quick", action="store_true", help="a third of each axis, nothing kept")
    parser.add_argument("--logits", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours; the peer runs once")
    arguments = parser.parse_args()
    if arguments.side:
        run_ours(arguments.folder, arguments.side)
        return 0
    if arguments.peer is None:
        parser.error("--peer is required")
    divide = 3 if arguments.quick else 1
    model, cropped = ([n // divide for n in shape] for shape in (MODEL_SHAPE, CROPPED_SHAPE))
    case = {
        "classes": CLASSES,
        "source_shape": [cropped[0] + 2, *cropped[1:]],
        "cropped_shape": cropped,
        "spacing_mm": SOURCE_SPACING_MM,
        "model_spacing_mm": MODEL_SPACING_MM,
    }
    rows = []
    for name in arguments.logits:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            np.save(folder / "logits.npy", CASES[name](tuple(model)))
            (folder / "case.json").write_text(json.dumps(case), encoding="utf-8")
            rows += compare(name, folder, arguments.peer, arguments.repeats)
        if not arguments.quick:
            keep(case, rows, arguments.peer)
    return 0


def keep(case: dict[str, Any], rows: list[dict[str, Any]], peer: str) -> None:
    """Write the results down; after each case, as a run is long."""
    machine = describe_machine("flare-infer", "numpy")
    peers = versions_in(peer, "nnunetv2", "torch", "numpy")
    record = {"machine": machine, "peer_packages": peers, "case": case, "rows": rows}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
