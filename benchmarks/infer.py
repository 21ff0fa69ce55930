"""Whole cases, file to file, a fresh process each: flare-infer beside nnU-Net and MONAI.

``python benchmarks/infer.py --peer PEER_PYTHON --monai MONAI_PYTHON`` makes Swift (3.15 M weights,
random) as a model of each side and segments real CT on a usual grid (0.8 x 0.8 x 2.5 mm) and a
phantom of 100 slices with all sides, and phantoms of 55 to 554 slices with ours alone. Each row is
wall seconds, processor seconds, the largest memory of the process and its children, and in how many
voxels its labels are those of nnU-Net's default. ``benchmarks/results/infer.json`` keeps every run
as it ends: the same command goes on where it was stopped; ``--again`` measures anew. ``--cases tiny
--sides exact fast`` is one minute.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from infer_sides import (
    COMPARED,
    LENGTHS,
    SIDES,
    STUDENT_SIDES,
    TINY,
    Side,
    scan_description,
    write_models,
    write_scan,
)
from machine import describe_machine
from margins import margins, network_logits
from resident import resident_mib

from flare_infer.predictor import Predictor
from flare_io.files import read_label_map, read_volume
from flare_io.prepared_planes import prepare_planes
from flare_metrics import measure_efficiency

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "infer.json"
DATA = HERE.parents[1] / "shared" / "data"
BASE = "nnU-Net, default"
REPEATS = 3
LONG_SIDES = ("fast",)
# Where so many voxels differ it is not arithmetic that makes the difference.
MOST_MARGINS = 500_000
ALL_SIDES: dict[str, Side] = {**SIDES, **STUDENT_SIDES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, print the tables and keep all runs."""
    options = _options(arguments)
    pythons = {"nnunet": options.peer, "monai": options.monai}
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    runs = {} if options.again else kept.get("runs", {})
    options.state.mkdir(parents=True, exist_ok=True)
    if not (options.state / "nnunet").exists():
        write_models(options.state)
    for case, side, repeats in wanted(options):
        scan = options.state / f"{case.replace(' ', '_')}.nii.gz"
        if not scan.exists():
            write_scan(case, scan, DATA)
        rows = runs.setdefault(case, {}).setdefault(side, [])
        peer = ALL_SIDES[side].peer
        if peer is not None and pythons[peer] is None:
            continue
        while len(rows) < repeats:
            rows.append(measure(case, side, scan, options, pythons))
            print(described(case, side, rows[-1]), flush=True)
            keep(runs, options.state)
    for line in tables(runs):
        print(line)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="interpreter that has nnunetv2")
    parser.add_argument("--monai", help="interpreter that has monai")
    parser.add_argument("--cases", nargs="+", choices=[*COMPARED, *LENGTHS, TINY])
    parser.add_argument("--sides", nargs="+", choices=ALL_SIDES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--again", action="store_true", help="forget earlier runs")
    parser.add_argument(
        "--state", type=Path, default=Path(tempfile.gettempdir()) / "flare-bench-infer",
        help="folder for models, scans and labels",
    )  # fmt: skip
    return parser.parse_args(arguments)


def wanted(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Return case, side and repeats of each row."""
    if options.cases or options.sides:
        cases, sides = options.cases or COMPARED, options.sides or SIDES
        return [(case, side, options.repeats) for case in cases for side in sides]
    rows = [
        (case, side, options.repeats)
        for case in COMPARED
        if case.startswith("phantom") or (DATA / f"{case}.nii.gz").exists()
        for side in SIDES
    ]
    rows += [(case, side, 1) for case in LENGTHS for side in LONG_SIDES]
    rows += [("phantom 100", side, options.repeats) for side in STUDENT_SIDES]
    return [*rows, ("stress 250", "exact", 1)]


def measure(
    case: str, side: str, scan: Path, options: argparse.Namespace, pythons: dict[str, str]
) -> dict[str, Any]:
    """Run one side once and return what it took."""
    folder = options.state / "labels" / scan.name.removesuffix(".nii.gz")
    folder.mkdir(parents=True, exist_ok=True)
    labels = folder / f"{side.replace(', ', '_').replace(' ', '_')}.nii.gz"
    for old in (labels, labels.with_name(f"{labels.name}.report.json")):
        old.unlink(missing_ok=True)
    command = ALL_SIDES[side].command(options.state, scan, labels, pythons)
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if ALL_SIDES[side].peer == "monai":
        environment["PYTHONPATH"] = str(HERE.parent / "packages" / "flare-nets" / "src")
    # Compiled modules are part of an installation.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, own_mib = os.times(), resident_mib("VmRSS")
    with measure_efficiency(name=f"{case}, {side}", gpu="none") as meter:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    after = os.times()
    if done.returncode:
        raise RuntimeError(f"{side} failed on {case} ({done.returncode}): {done.stderr[-2000:]}")
    tree = meter.measurement.tree_ram_mib
    spent = after.children_user - before.children_user
    spent += after.children_system - before.children_system
    row = {
        "wall_s": round(meter.measurement.time_s, 2),
        "cpu_s": round(spent, 2),
        # This process is the root of the tree and does nothing meanwhile.
        "peak_mib": round(max(0.0, tree.peak - own_mib)) if tree else None,
        "load_before": round(os.getloadavg()[0], 1),
        "threads": options.threads,
    }
    report = labels.with_name(f"{labels.name}.report.json")
    if report.exists():
        record = json.loads(report.read_text(encoding="utf-8"))
        row["seconds"] = record["cases"][0]["seconds"]
        row["peak_own_mib"] = record["peak_memory_mib"]
    base = folder / f"{BASE.replace(', ', '_').replace(' ', '_')}.nii.gz"
    if base.exists() and side != BASE and side in SIDES:
        row["differing"] = differing(base, labels, scan, options.state)
    return row


def differing(base: Path, labels: Path, scan: Path, state: Path) -> dict[str, Any]:
    """Return how many voxels differ between two label maps, and how near to a tie, if few do."""
    a, b = (read_label_map(path).array for path in (base, labels))
    others = a != b
    found: dict[str, Any] = {"voxels": int(np.count_nonzero(others)), "of": int(a.size)}
    if 0 < found["voxels"] <= MOST_MARGINS:
        near = margins(*logits_of(scan, state), others)
        found["margin"] = {
            f"{share} %": round(float(np.percentile(near, share)), 5) for share in (50, 99, 100)
        }
    return found


def logits_of(scan: Path, state: Path) -> tuple[Any, Any, Any]:
    """Return exact mode's logits of a scan, kept when they are made, the way back and the model."""
    kept = state / "logits" / f"{scan.name}.npy"
    predictor = Predictor.load(state / "model", device="cpu", mode="exact")
    spec, volume = predictor.model.spec, read_volume(scan)
    if kept.exists():
        return (
            np.load(kept, mmap_mode="r"),
            prepare_planes(volume, spec.preprocessing).preparation,
            spec,
        )
    logits, preparation = network_logits(predictor, [volume])
    kept.parent.mkdir(exist_ok=True)
    np.save(kept, logits.astype(np.float16))
    return logits, preparation, spec


def described(case: str, side: str, row: dict[str, Any]) -> str:
    """Return one line of a run."""
    other = row.get("differing")
    share = "" if other is None else f", {100 * other['voxels'] / other['of']:.4f} % differ"
    if other is not None and "margin" in other:
        share += f", margins {other['margin']}"
    return (
        f"{row['wall_s']:7.1f} s wall {row['cpu_s']:7.1f} s cpu {row['peak_mib']:6.0f} MiB  "
        f"{case}, {side}{share}"
    )


def tables(runs: dict[str, Any]) -> list[str]:
    """Return a table for each case, the ratio to nnU-Net's default first."""
    lines = []
    for case, sides in runs.items():
        medians = {
            side: {
                key: statistics.median(row[key] for row in rows) for key in ("wall_s", "peak_mib")
            }
            for side, rows in sides.items()
            if rows
        }
        base = medians.get(BASE)
        lines += [
            "",
            f"| {case} | x faster | seconds, spread | MiB | labels that differ |",
            "|---|---|---|---|---|",
        ]
        for side, median in medians.items():
            seconds = [row["wall_s"] for row in sides[side]]
            ratio = f"{base['wall_s'] / median['wall_s']:.2f}" if base else ""
            other = sides[side][-1].get("differing")
            share = f"{100 * other['voxels'] / other['of']:.4f} %" if other else ""
            lines.append(
                f"| {side} | {ratio} | {median['wall_s']:.1f}, {min(seconds):.1f} to "
                f"{max(seconds):.1f} | {median['peak_mib']:.0f} | {share} |"
            )
    return lines


def keep(runs: dict[str, Any], state: Path) -> None:
    """Write all runs so far."""
    scans = {case: state / f"{case.replace(' ', '_')}.nii.gz" for case in runs}
    record = {
        "machine": describe_machine("torch", "numpy", "flare-infer", "openvino"),
        "scans": {case: scan_description(path) for case, path in scans.items() if path.exists()},
        "runs": runs,
    }
    temporary = RESULTS.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(RESULTS)


if __name__ == "__main__":
    sys.exit(main())
