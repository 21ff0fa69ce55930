"""Fast mode on a GPU, file to file, cold and warm, beside the same net with sums on the host.

``python benchmarks/infer_gpu.py`` first runs the tests marked ``gpu``, then segments a phantom of
100 slices and one of 250 with Swift (random weights). The sides: the engine of
``flare_infer.device``, and autocast window by window with float32 sums on the host, which is how
nnU-Net's predictor uses a GPU that lacks memory for its sums. Cold is a fresh process, warm the
cases after the first in one process. ``benchmarks/results/infer_gpu.json`` keeps wall seconds,
seconds by step, the peak and the area of device memory as the driver counts it (context and all),
the allocator's peak and in how many voxels the sides differ. Without a GPU it ends with code 5.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "infer_gpu.json"
SIDES = ("device", "host sums")
CASES = ("phantom 100", "stress 250")
NO_GPU = 5
# Of the issue: beside the host's sums, and in MiB.
FASTER, SMALLER, MOST_MIB = 5.0, 8.0, 1500


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both sides, or be one of them."""
    options = _options(arguments)
    if options.side is not None:
        print(json.dumps(run_side(options)))
        return 0
    import torch

    if not torch.cuda.is_available():
        print("infer_gpu.py: no CUDA device is there, nothing was measured", file=sys.stderr)
        return NO_GPU
    from infer_sides import write_random_model, write_scan
    from machine import describe_machine

    options.state.mkdir(parents=True, exist_ok=True)
    if not (options.state / "model").exists():
        write_random_model(options.state / "model", "swift", (3.0, 1.5, 1.5))
    record: dict[str, Any] = {
        "machine": describe_machine("flare-infer", "numpy", "torch"),
        "device": device_description(),
        "tests": run_tests(),
        "cases": {},
    }
    for case in options.cases:
        scan = options.state / f"{case.replace(' ', '_')}.nii.gz"
        if not scan.exists():
            write_scan(case, scan, HERE)
        sides = {side: measure(side, scan, options) for side in SIDES}
        sides["differing"] = differing(*(labels_path(side, scan) for side in SIDES))
        record["cases"][case] = sides
        for line in table(case, sides):
            print(line, flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record["tests"]["code"]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES, choices=[*CASES, "tiny"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--state", type=Path, default=Path(tempfile.gettempdir()) / "flare-bench-infer-gpu",
        help="folder for model, scans and labels",
    )  # fmt: skip
    parser.add_argument("--side", choices=SIDES, help="be this side: the script calls itself")
    parser.add_argument("--scan", type=Path)
    return parser.parse_args(arguments)


def run_tests() -> dict[str, Any]:
    """Run the tests marked ``gpu`` and return how they ended."""
    folder = HERE.parent / "packages" / "flare-infer"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()[-500:]]
    print(lines[-1], flush=True)
    return {"code": done.returncode, "said": lines[-1]}


def measure(side: str, scan: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the runs of one side: each cold one in a process of its own, the warm ones in one."""
    from flare_metrics import measure_efficiency

    cold = []
    for _ in range(options.repeats):
        with measure_efficiency(name=side) as meter:
            (run,) = called(side, scan, options, repeats=1)
        measured = meter.measurement
        device = measured.tree_gpu_mib or measured.gpu_mib
        cold.append(
            {
                **run,
                "wall_s": round(measured.time_s, 3),
                "device_peak_mib": None if device is None else round(device.peak, 1),
                "device_area_mib_s": None if device is None else round(device.area, 1),
            }
        )
    warm = called(side, scan, options, repeats=options.repeats + 1)[1:]
    return {"cold": cold, "warm": warm}


def called(
    side: str, scan: Path, options: argparse.Namespace, *, repeats: int
) -> list[dict[str, Any]]:
    """Run one side in a fresh process."""
    command = [
        sys.executable, __file__, "--side", side, "--scan", str(scan), "--state",
        str(options.state), "--repeats", str(repeats),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{side} failed on {scan.name}: {done.stderr[-2000:]}")
    runs: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return runs


def run_side(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Segment a scan a number of times, file to file, and return what each time took."""
    import torch

    from flare_infer.predictor import Predictor
    from flare_io.files import write_volume

    on_device = options.side == "device"
    # Exact mode's networks run under autocast, window by window.
    mode = "fast" if on_device else "exact"
    predictor = Predictor.load(options.state / "model", device="cuda", mode=mode)
    segment = _on_device if on_device else _with_host_sums
    runs = []
    for _ in range(options.repeats):
        seconds: dict[str, float] = {}
        started = time.perf_counter()
        labels = segment(predictor, options.scan, seconds)
        held = torch.cuda.memory_reserved()
        write_volume(labels, labels_path(options.side, options.scan))
        runs.append(
            {
                "case_s": round(time.perf_counter() - started, 3),
                "seconds": seconds,
                "allocated_peak_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1),
                "reserved_peak_mib": round(torch.cuda.max_memory_reserved() / 2**20, 1),
                "reserved_while_writing_mib": round(held / 2**20, 1),
            }
        )
        torch.cuda.reset_peak_memory_stats()
    return runs


def _on_device(predictor: Any, scan: Path, seconds: dict[str, float]) -> Any:
    return predictor.predict(scan, timings=seconds)


def _with_host_sums(predictor: Any, scan: Path, seconds: dict[str, float]) -> Any:
    from flare_infer.case import CaseSettings, layers_of, segment_case
    from flare_infer.channels import read_channels
    from flare_infer.stopwatch import Stopwatch
    from flare_io.policy import ReadPolicy

    watch = Stopwatch(seconds)
    layers = layers_of(predictor.model, predictor.nets.by_layer("exact"))
    with watch.step("read"):
        channels = read_channels(scan, None, ReadPolicy())
    settings = CaseSettings(watch=watch, fast=predictor.fast, mode="fast")
    return segment_case(channels, layers, settings)


def labels_path(side: str, scan: Path) -> Path:
    """Return where a side writes its labels of a scan."""
    name = scan.name.removesuffix(".nii.gz")
    return scan.with_name(f"{name}_{side.replace(' ', '_')}_labels.nii.gz")


def differing(one: Path, other: Path) -> dict[str, int]:
    """Return in how many voxels two label maps differ, of how many."""
    from flare_io.files import read_label_map

    a, b = (read_label_map(path).array for path in (one, other))
    return {"voxels": int((a != b).sum()), "of": int(a.size)}


def device_description() -> dict[str, Any]:
    """Return what the device is."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_mib": properties.total_memory // 2**20,
        "capability": list(torch.cuda.get_device_capability(0)),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def table(case: str, sides: dict[str, Any]) -> list[str]:
    """Return a line for each side and the ratios that are asked for."""
    lines, medians = [], {}
    for side in SIDES:
        cold, warm = sides[side]["cold"], sides[side]["warm"]
        area = [run["device_area_mib_s"] or 0.0 for run in cold]
        medians[side] = (statistics.median(run["wall_s"] for run in cold), statistics.median(area))
        peak = max(run["device_peak_mib"] or 0.0 for run in cold)
        again = statistics.median(run["case_s"] for run in warm)
        lines.append(
            f"{medians[side][0]:7.2f} s cold {again:7.2f} s warm {peak:7.0f} MiB "
            f"{medians[side][1]:9.0f} MiB*s  {case}, {side}"
        )
        lines.append(f"          first step by step: {cold[0]['seconds']}")
    (ours_s, ours_area), (other_s, other_area) = (medians[side] for side in SIDES)
    ratio = f"{other_area / ours_area:.1f} x" if ours_area else "not measured"
    most = max(run["device_peak_mib"] or 0.0 for run in sides["device"]["cold"])
    lines.append(
        f"{other_s / ours_s:7.1f} x faster (wanted {FASTER}), area {ratio} smaller (wanted "
        f"{SMALLER}), {most:.0f} MiB (at most {MOST_MIB})"
    )
    return lines


if __name__ == "__main__":
    sys.exit(main())
