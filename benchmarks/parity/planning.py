"""Hold flare-train's planner against nnU-Net's own, on drawn and on known fingerprints.

``python benchmarks/parity/planning.py --peer PEER_PYTHON`` writes fingerprints, lets nnU-Net's
planners make plans from them, makes its own, and prints a table. Exits with 1 when a plan differs.
The peer's interpreter needs nnunetv2 only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flare_nets.plans import config_from_plans
from flare_train.fingerprint import Fingerprint, ForegroundIntensities
from flare_train.planning import Configuration, Plan, make_plan, plan_rules

HERE = Path(__file__).parent
RESULT = HERE.parent / "results" / "planning.json"
PLANNERS = {
    "default": "ExperimentPlanner",
    "resenc-m": "nnUNetPlannerResEncM",
    "resenc-l": "nnUNetPlannerResEncL",
    "resenc-xl": "nnUNetPlannerResEncXL",
}
CT = ForegroundIntensities(
    mean=80.0, median=90.0, std=140.0, low=-960.0, high=300.0, minimum=-1024.0, maximum=1500.0
)
# Median spacing and shape of cases like those of the name.
KNOWN = {
    "FLARE CT": ((2.5, 0.8, 0.8), (110, 512, 512)),
    "S5 whole body": ((1.0, 0.8, 0.8), (280, 500, 500)),
    "heart, thick": ((10.0, 1.56, 1.56), (9, 256, 216)),
    "prostate": ((3.6, 0.62, 0.62), (20, 320, 320)),
    "hippocampus": ((1.0, 1.0, 1.0), (36, 50, 35)),
    "brain": ((1.0, 1.0, 1.0), (138, 170, 138)),
    "coronal": ((0.8, 4.0, 0.8), (512, 80, 512)),
    "micro-CT": ((0.05, 0.05, 0.05), (900, 800, 850)),
    "tiny": ((3.0, 3.0, 3.0), (12, 14, 16)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all plans and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="interpreter that has nnunetv2")
    parser.add_argument("--drawn", type=int, default=40, help="fingerprints drawn at random")
    options = parser.parse_args(arguments)
    cases = fingerprints(options.drawn)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, fingerprint in enumerate(cases.values()):
            write_case(Path(folder), number, fingerprint, labels=labels_of(number))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        for name in ("raw", "preprocessed", "results"):
            environment[f"nnUNet_{name}"] = str(Path(folder) / name)
        script = [str(HERE / "planning_nnunet.py"), environment["nnUNet_preprocessed"]]
        command = [options.peer, *script, *PLANNERS.values()]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        for number, (name, fingerprint) in enumerate(cases.items()):
            for rules, planner in PLANNERS.items():
                rows.append(compare(Path(folder), number, name, rules, planner, fingerprint))
    report(rows)
    return int(any(row["differences"] for row in rows))


def fingerprints(drawn: int) -> dict[str, Fingerprint]:
    """Return the known fingerprints and random ones, from thin to thick and small to large."""
    rng = np.random.default_rng(2024)
    found = {
        name: spread(spacing, shape, rng, spread_of=0.15)
        for name, (spacing, shape) in KNOWN.items()
    }
    for number in range(drawn):
        plane = float(np.exp(rng.uniform(np.log(0.4), np.log(2.0))))
        spacing = [
            plane * float(np.exp(rng.uniform(0, np.log(8)))),
            plane,
            plane * rng.uniform(1, 1.3),
        ]
        shape = [int(np.exp(rng.uniform(np.log(16), np.log(600)))) for _ in range(3)]
        order = rng.permutation(3) if number % 4 == 3 else (0, 1, 2)
        found[f"drawn {number}"] = spread(
            [spacing[k] for k in order], [shape[k] for k in order], rng, spread_of=0.3
        )
    return found


def spread(
    spacing: Sequence[float], shape: Sequence[int], rng: np.random.Generator, *, spread_of: float
) -> Fingerprint:
    """Return a fingerprint of cases around a spacing and a shape."""
    cases = int(rng.integers(4, 60))
    factors = np.exp(rng.normal(0, spread_of, (2, cases, 3)))
    spacings = [[round(float(v), 4) for v in row] for row in factors[0] * spacing]
    shapes = np.maximum(1, np.rint(factors[1] * shape)).astype(int).tolist()
    return Fingerprint(
        spacings_mm=tuple(map(tuple, spacings)),
        shapes=tuple(map(tuple, shapes)),
        intensities=(CT,),
    )


def labels_of(number: int) -> dict[str, int]:
    """Return background and 1 to 14 classes, every third time with an ignore label."""
    labels = {"background": 0, **{f"class {k}": k for k in range(1, 2 + number % 14)}}
    return {**labels, "ignore": len(labels)} if number % 3 == 2 else labels


def write_case(
    folder: Path, number: int, fingerprint: Fingerprint, *, labels: dict[str, int]
) -> None:
    """Write what nnU-Net's planner reads: dataset.json, one image's name, the fingerprint."""
    name = f"Dataset{number + 1:03d}_Plan"
    images, prepared = folder / "raw" / name / "imagesTr", folder / "preprocessed" / name
    images.mkdir(parents=True)
    prepared.mkdir(parents=True)
    (images / "case_0000.nii.gz").touch()
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": len(fingerprint.shapes),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    (folder / "raw" / name / "dataset.json").write_text(json.dumps(dataset))
    values = {"mean": CT.mean, "median": CT.median, "std": CT.std, "min": CT.minimum}
    content = {
        "spacings": fingerprint.spacings_mm,
        "shapes_after_crop": fingerprint.shapes,
        "foreground_intensity_properties_per_channel": {
            "0": {
                **values,
                "max": CT.maximum,
                "percentile_00_5": CT.low,
                "percentile_99_5": CT.high,
            }
        },
        "median_relative_size_after_cropping": 1.0,
    }
    (prepared / "dataset_fingerprint.json").write_text(json.dumps(content))


def compare(
    folder: Path, number: int, name: str, rules: str, planner: str, fingerprint: Fingerprint
) -> dict[str, Any]:
    """Plan one fingerprint and name every field that differs from nnU-Net's plan."""
    labels = labels_of(number)
    path = folder / "preprocessed" / f"Dataset{number + 1:03d}_Plan" / f"{planner}.json"
    theirs = json.loads(path.read_text())
    row = {"case": name, "rules": rules, "classes": len(labels)}
    if "error" in theirs:
        # A dataset of 2-D slices, or one too small to be halved: no 3-D net on either side.
        return {**row, "patch": theirs["error"], "differences": []}
    plan = make_plan(
        fingerprint,
        out_channels=len(labels) - ("ignore" in labels),
        outputs=len(labels),
        rules=plan_rules(rules),
    )
    return {
        **row,
        "patch": list(plan.fullres.patch),
        "batch": plan.fullres.batch,
        "lowres": plan.lowres is not None,
        "differences": differences(plan, theirs),
    }


def differences(plan: Plan, theirs: dict[str, Any]) -> list[str]:
    """Return the fields in which a plan and nnU-Net's differ."""
    found = []
    if list(plan.transpose) != theirs["transpose_forward"]:
        found.append("transpose")
    if (plan.lowres is not None) != ("3d_lowres" in theirs["configurations"]):
        found.append("lowres exists")
    pairs: list[tuple[str, Configuration | None]] = [
        ("3d_fullres", plan.fullres),
        ("3d_lowres", plan.lowres),
    ]
    for name, ours in pairs:
        if ours is None or name not in theirs["configurations"]:
            continue
        other = theirs["configurations"][name]
        net = config_from_plans(theirs, name, in_channels=1, out_channels=ours.net.out_channels)
        for field, mine, peers in (
            ("spacing", list(ours.spacing_mm), other["spacing"]),
            ("median shape", list(ours.median_shape), other["median_image_size_in_voxels"]),
            ("patch", list(ours.patch), other["patch_size"]),
            ("batch", ours.batch, other["batch_size"]),
            ("batch dice", ours.batch_dice, other["batch_dice"]),
            ("net", ours.net, net),
        ):
            if mine != peers:
                found.append(f"{name} {field}: {mine} and {peers}")
    return found


def report(rows: list[dict[str, Any]]) -> None:
    """Print the table and keep it as JSON."""
    sys.path.insert(0, str(HERE.parent))
    from machine import describe_machine

    print("| fingerprint | rules | patch | batch | lowres | differs in |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        verdict = "; ".join(row["differences"]) or "nothing"
        print(
            f"| {row['case']} | {row['rules']} | {row['patch']} | {row.get('batch', '')} | "
            f"{row.get('lowres', '')} | {verdict} |"
        )
    equal = sum(not row["differences"] for row in rows)
    planned = sum("batch" in row for row in rows)
    print(f"\nequal in {equal} of {len(rows)} plans, {planned} of them with a 3-D net")
    RESULT.parent.mkdir(exist_ok=True)
    machine = describe_machine("numpy", "flare-train")
    RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
