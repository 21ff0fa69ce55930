"""Hold flare-metrics against its peers: who agrees, who differs, and by how much.

``python benchmarks/parity/metrics.py --peer PEER_PYTHON`` writes masks, lets the peers score them
in their own interpreter (``benchmarks/peers-metrics.txt``), prints what each peer finds beside the
definition of ours that it shares, then the tables of CORRECTNESS.md of flare-metrics, and exits
with 1 when one that must agree does not. All numbers go to
``benchmarks/results/parity_metrics.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import flare_metrics as ours

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from machine import describe_machine
from metrics_tables import tables

RESULTS = Path(__file__).resolve().parents[1] / "results" / "parity_metrics.json"
CT_MM = (2.5, 0.8, 0.8)


@dataclass(frozen=True, eq=False)
class Case:
    """Two masks to be compared."""

    prediction: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float] = CT_MM
    tolerance_mm: float = 2.0


# Peer and score -> the score of ours with the same definition, and how close it must be. MONAI
# computes in single precision, also where between two distances a percentile falls.
AGREES: dict[tuple[str, str], tuple[str, float]] = {
    ("surface_distance", "dsc"): ("dsc", 1e-12),
    ("surface_distance", "nsd"): ("nsd, strict", 1e-9),
    ("surface_distance", "hd"): ("hd, area", 1e-9),
    ("surface_distance", "hd95"): ("hd95, area", 1e-9),
    ("surface_distance", "average from prediction"): ("average from prediction, area", 1e-9),
    ("surface_distance", "average from reference"): ("average from reference, area", 1e-9),
    ("monai", "dsc"): ("dsc", 1e-6),
    ("monai", "nsd, subvoxels"): ("nsd, strict", 1e-6),
    ("monai", "hd"): ("hd, voxel", 1e-6),
    ("monai", "hd95"): ("hd95, voxel", 1e-5),
    ("monai", "average from prediction"): ("average from prediction, voxel", 1e-6),
    ("monai", "average"): ("average, voxel", 1e-6),
    ("pymia", "dsc"): ("dsc", 1e-12),
    ("pymia", "jaccard"): ("jaccard", 1e-12),
    ("pymia", "nsd"): ("nsd, strict", 1e-9),
    ("pymia", "hd"): ("hd, area", 1e-9),
    ("pymia", "hd95"): ("hd95, area", 1e-9),
    ("seg_metrics", "dsc"): ("dsc", 1e-12),
    ("seg_metrics", "jaccard"): ("jaccard", 1e-12),
    ("simpleitk", "dsc"): ("dsc", 1e-12),
    ("simpleitk", "jaccard"): ("jaccard", 1e-12),
}
# In single precision a float32 spacing is no longer apart from the number it stands for.
SINGLE = {("moved by the tolerance, 0.4 mm as float32", "monai", "nsd, subvoxels"): "nsd"}
# Definitions that come close, shown with their difference and held to nothing.
NEAR = {
    ("monai", "nsd, default"): "nsd",
    ("seg_metrics", "hd"): "hd, voxel-pooled",
    ("seg_metrics", "hd95"): "hd95, voxel-pooled",
    ("seg_metrics", "average"): "average, voxel",
    ("seg_metrics", "hd, face contour"): "hd, voxel-pooled",
    ("seg_metrics", "hd95, face contour"): "hd95, voxel-pooled",
    ("seg_metrics", "average, face contour"): "average, voxel",
    ("simpleitk", "hd"): "hd, voxel",
    ("simpleitk", "average"): "average, voxel",
}


def ellipsoid(
    shape: tuple[int, int, int],
    radii_mm: tuple[float, float, float],
    *,
    moved_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spacing_mm: tuple[float, float, float] = CT_MM,
) -> NDArray[np.bool_]:
    """Return an ellipsoid near the middle of an array."""
    away = [
        ((np.arange(n) - n / 2) * step - move) / radius
        for n, step, move, radius in zip(shape, spacing_mm, moved_mm, radii_mm, strict=True)
    ]
    inside: NDArray[np.bool_] = (
        away[0][:, None, None] ** 2 + away[1][:, None] ** 2 + away[2] ** 2
    ) <= 1
    return inside


def cases() -> dict[str, Case]:
    """Return the masks by name."""
    shape = (32, 80, 80)
    organ = ellipsoid(shape, (20, 16, 24))
    moved = ellipsoid(shape, (19, 15, 23), moved_mm=(0.8, 1.1, 0.7))
    specks = moved.copy()
    for z, y, x in ((1, 4, 4), (2, 70, 6), (3, 8, 70), (28, 74, 72), (29, 5, 40), (30, 70, 4)):
        specks[z, y : y + 2, x : x + 2] = True
    gland, found = ellipsoid(shape, (5, 3, 6)), ellipsoid(shape, (5, 3, 5), moved_mm=(0, 1, 1))
    few = found.copy()
    few[2, 10:12, 10:12] = few[29, 70:72, 70:72] = True
    one, other = np.zeros((2, 6, 7, 8), bool)
    one[2, 3, 2] = other[3, 3, 5] = True
    slab = np.zeros((8, 24, 24), bool)
    slab[2:6, 4:20, 3:9] = True
    tie = np.roll(slab, 5, 2)
    stored = float(np.float32(0.4))
    empty = np.zeros_like(gland)
    return {
        "organ": Case(moved, organ),
        "organ and specks": Case(specks, organ),
        "gland": Case(found, gland),
        "gland and specks": Case(few, gland),
        "organ cut by the array": Case(moved[:, 36:], organ[:, 36:]),
        "one voxel each": Case(one, other),
        "moved by the tolerance, 0.4 mm": Case(tie, slab, (0.4, 0.4, 0.4)),
        "moved by the tolerance, 0.4 mm as float32": Case(tie, slab, (stored,) * 3),
        "prediction empty": Case(empty, gland),
        "reference empty": Case(gland, empty),
        "both empty": Case(empty, empty),
    }


def our_scores(case: Case) -> dict[str, float]:
    """Return every score under the name that the tables use."""
    pair, spacing = (case.prediction, case.reference), case.spacing_mm
    nsd = {"spacing_mm": spacing, "tolerance_mm": case.tolerance_mm}
    scores = {
        "dsc": ours.dice(*pair),
        "jaccard": ours.jaccard(*pair),
        "nsd": ours.surface_dice(*pair, **nsd),
        "nsd, strict": ours.surface_dice(*pair, tie="strict", **nsd),
    }
    for definition in ("area", "voxel", "voxel-pooled"):
        rules: dict[str, Any] = {"spacing_mm": spacing, "definition": definition}
        for name, percentile in (("hd", 100.0), ("hd95", 95.0)):
            scores[f"{name}, {definition}"] = ours.hausdorff(*pair, percentile=percentile, **rules)
        for name, direction in (
            ("average", "symmetric"),
            ("average from prediction", "prediction"),
            ("average from reference", "reference"),
        ):
            scores[f"{name}, {definition}"] = ours.average_surface_distance(
                *pair, direction=direction, **rules
            )
    return scores


def peers_scores(python: str, made: dict[str, Case]) -> dict[str, Any]:
    """Run all peers on the cases in their own interpreter."""
    written: dict[str, Any] = {"names": np.array(json.dumps(list(made)))}
    for name, case in made.items():
        written[f"{name}.prediction"] = case.prediction
        written[f"{name}.reference"] = case.reference
        written[f"{name}.spacing_mm"] = np.array(case.spacing_mm)
        written[f"{name}.tolerance_mm"] = np.array(case.tolerance_mm)
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder, "cases.npz"), Path(folder, "results.json")
        np.savez(inputs, **written)
        script = Path(__file__).with_name("metrics_peers.py")
        subprocess.run([python, str(script), str(inputs), str(outputs)], check=True)
        found: dict[str, Any] = json.loads(outputs.read_text(encoding="utf-8"))
    return found


def differences(scores: dict[str, Any], peers: dict[str, Any]) -> list[dict[str, Any]]:
    """Return, for each score of each peer, ours and how far they are apart at most."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for case, row in scores.items():
        for peer, values in peers[case].items():
            for score, value in values.items():
                # What a peer makes of empty masks has a table of its own.
                if case.endswith("empty") or (peer, score) not in (*AGREES, *NEAR):
                    continue
                name, limit = AGREES.get((peer, score), (NEAR.get((peer, score), ""), math.inf))
                name = SINGLE.get((case, peer, score), name)
                apart = abs(value - row[name]) if isinstance(value, float) else math.inf
                entry = {"peer": peer, "score": score, "ours": name, "apart": apart, "case": case}
                entry["differs"] = not apart <= limit * max(1.0, abs(row[name]))
                entry["limit"] = limit
                before = found.setdefault((peer, score), entry)
                if (entry["differs"], apart) > (before["differs"], before["apart"]):
                    found[peer, score] = entry
    return list(found.values())


def show(entries: list[dict[str, Any]]) -> None:
    print(f"{'peer':<18}{'its score':<25}{'ours':<31}{'apart at most':<15}on")
    for entry in entries:
        limit, differs = entry["limit"], entry["differs"]
        verdict = (
            "another definition" if limit == math.inf else f"{'DIFFERS' if differs else 'equal'}"
        )
        print(
            f"{entry['peer']:<18}{entry['score']:<25}{entry['ours']:<31}"
            f"{entry['apart']:<15.1e}{entry['case']}: {verdict}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="interpreter of the peers' environment")
    arguments = parser.parse_args()
    made = cases()
    peers = peers_scores(arguments.peer, made)
    print(", ".join(f"{name} {version}" for name, version in peers["versions"].items()))
    scores = {name: our_scores(case) for name, case in made.items()}
    entries = differences(scores, peers["scores"])
    show(entries)
    failures = sum(entry["differs"] for entry in entries)
    record = {
        "machine": describe_machine("flare-metrics", "numpy", "scipy"),
        "peers": peers["versions"],
        "ours": {
            name: {key: value if math.isfinite(value) else str(value) for key, value in row.items()}
            for name, row in scores.items()
        },
        "theirs": peers["scores"],
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"\n{tables(record)}")
    print("\nall as defined" if not failures else f"\n{failures} scores differ")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
