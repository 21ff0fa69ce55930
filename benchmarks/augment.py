"""Time preset ``nnunet`` beside nnU-Net's own training transforms, and compare what comes out.

``python benchmarks/augment.py --peer PEER_PYTHON`` lets each side change the same phantom patches
in processes of its own, one thread each, by turns; it prints the ratio first and keeps the figures
in ``benchmarks/results/augment.json``. Times are of the processor, so that other work on the
machine counts less; the clock's are kept beside them. The peer works as nnU-Net v2's trainer calls
it, its deep supervision left out; a second row gives it nearest neighbor labels, which is what ours
does. What the samples look like afterwards is compared by Kolmogorov and Smirnov's statistic.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, versions_in
from scipy.stats import ks_2samp

from flare_io.phantom import draw_phantom
from flare_train.config import AugmentConfig

RESULTS = Path(__file__).parent / "results" / "augment.json"
SIDES = Path(__file__).parent / "augment_sides.py"
PATCHES = ((32, 128, 192), (64, 128, 128))
SPACING_MM = (3.0, 1.5, 1.5)


def write_patches(folder: Path, patch: tuple[int, int, int], *, count: int) -> Path:
    """Draw phantoms with all 14 labels, normalize them and cut what a loader would read."""
    source = AugmentConfig.preset("nnunet").source_patch(patch)
    rng = np.random.default_rng(0)
    images, labels = [], []
    for index in range(count):
        case = draw_phantom(seed=0, index=index, preset="stress", spacing_mm=SPACING_MM)
        scan, truth = case.image.array, case.truth.array
        shape = scan.shape
        wide = [max(0, n - m) for n, m in zip(source, shape, strict=True)]
        pads = [(n // 2, n - n // 2) for n in wide]
        image = np.pad((np.clip(scan, -972, 294) - 79.43) / 142.0, pads)
        truth = np.pad(truth, pads)
        starts = [int(rng.integers(n - m + 1)) for n, m in zip(image.shape, source, strict=True)]
        cut = tuple(slice(a, a + m) for a, m in zip(starts, source, strict=True))
        images.append(image[cut].astype(np.float32))
        labels.append(truth[cut].astype(np.uint8))
    path = folder / f"{'x'.join(map(str, patch))}.npz"
    np.savez(path, images=np.stack(images), labels=np.stack(labels), patch=patch)
    return path


def run_side(python: str, side: str, path: Path, *, samples: int, seed: int) -> dict[str, Any]:
    command = [python, str(SIDES), side, str(path), str(samples), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return figures


def compare(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all sides by turns; return their times and the distance between what they made."""
    sides = {
        "ours": sys.executable,
        "nnunet": arguments.peer,
        "nnunet, nearest labels": arguments.peer,
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for turn in range(arguments.rounds):
        for name, python in sides.items():
            runs[name].append(run_side(python, name, path, samples=arguments.samples, seed=turn))
    record: dict[str, Any] = {
        "patch": runs["ours"][0]["patch"],
        "labels": runs["ours"][0]["labels"],
    }
    for name, turns in runs.items():
        cpu, wall = (np.array([run[clock] for run in turns]) for clock in ("cpu_ms", "wall_ms"))
        record[name] = {
            "mean_ms": round(float(cpu.mean()), 2),
            "median_ms": round(float(np.median(cpu)), 2),
            "largest_ms": round(float(cpu.max()), 1),
            "mean_ms_of_rounds": cpu.mean(axis=1).round(2).tolist(),
            "wall_mean_ms": round(float(wall.mean()), 2),
        }
    for name in list(sides)[1:]:
        for ratio, clock in (("ratio", "mean_ms"), ("wall ratio", "wall_mean_ms")):
            record[f"{ratio} to {name}"] = round(record[name][clock] / record["ours"][clock], 2)
    record["distance"] = {}
    for measure in runs["ours"][0]["looks"]:
        ours, peer = (
            np.concatenate([run["looks"][measure] for run in runs[name]])
            for name in ("ours", "nnunet")
        )
        test = ks_2samp(ours, peer)
        record["distance"][measure] = {
            "ours_mean": round(float(ours.mean()), 4),
            "nnunet_mean": round(float(peer.mean()), 4),
            "largest_gap": round(float(test.statistic), 3),
            "p": round(float(test.pvalue), 3),
        }
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="interpreter of an environment with nnunetv2")
    parser.add_argument("--samples", type=int, default=200, help="per side and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="20 samples, nothing kept")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.samples, arguments.rounds, arguments.cases = 20, 1, 1
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for patch in PATCHES:
            path = write_patches(Path(folder), patch, count=arguments.cases)
            rows.append(compare(path, arguments))
            row = rows[-1]
            print(
                f"{row['ratio to nnunet']:6.1f} x  ({row['ratio to nnunet, nearest labels']:.1f} x "
                f"with nearest labels)  patch {patch}: ours {row['ours']['mean_ms']} ms, nnU-Net "
                f"{row['nnunet']['mean_ms']} ms a sample; largest gaps "
                + ", ".join(f"{k} {v['largest_gap']}" for k, v in row["distance"].items()),
                flush=True,
            )
    if not arguments.quick:
        machine = describe_machine("flare-train", "torch", "numpy")
        machine["threads"] = "1"
        machine["peer"] = versions_in(arguments.peer, "nnunetv2", "batchgeneratorsv2", "torch")
        record = {
            "machine": machine,
            "samples": arguments.samples,
            "rounds": arguments.rounds,
            "load_average": [round(load, 2) for load in os.getloadavg()],
            "rows": rows,
        }
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
