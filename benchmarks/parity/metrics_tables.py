"""The tables of CORRECTNESS.md of flare-metrics, from the record that `metrics.py` keeps.

``python benchmarks/parity/metrics_tables.py`` prints them again without running anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results" / "parity_metrics.json"

Cells = list[str]

CASES = ("gland", "gland and specks")
# Title of a row, then where its scores are and their names; "" where there is none.
PEERS: dict[str, tuple[str, str, Cells]] = {
    "**area**": ("", "", ["nsd, strict", "hd95, area", "hd, area", "average, area"]),
    "surface-distance": ("theirs", "surface_distance", ["nsd", "hd95", "hd", ""]),
    "pymia": ("theirs", "pymia", ["nsd", "hd95", "hd", ""]),
    "MONAI, `use_subvoxels`": ("theirs", "monai", ["nsd, subvoxels", "", "", ""]),
    "**voxel** (MetricsReloaded)": ("", "", ["", "hd95, voxel", "hd, voxel", "average, voxel"]),
    "MONAI": ("theirs", "monai", ["nsd, default", "hd95", "hd", "average"]),
    "**voxel-pooled** (MedPy)": (
        "", "", ["", "hd95, voxel-pooled", "hd, voxel-pooled", "average, voxel-pooled"],
    ),
    "seg-metrics": ("theirs", "seg_metrics", ["", "hd95", "hd", "average"]),
    "seg-metrics, `fully_connected=False`": (
        "theirs", "seg_metrics",
        ["", "hd95, face contour", "hd, face contour", "average, face contour"],
    ),
    "SimpleITK, Hausdorff filter": ("theirs", "simpleitk", ["", "", "hd", "average"]),
}  # fmt: skip
EMPTY: dict[str, tuple[str, Cells]] = {
    "surface-distance": ("surface_distance", ["dsc", "nsd", "hd95"]),
    "MONAI": ("monai", ["dsc", "nsd, subvoxels", "hd95"]),
    "pymia": ("pymia", ["dsc", "nsd", "hd95"]),
    "seg-metrics": ("seg_metrics", ["dsc", "", "hd95"]),
    "SimpleITK": ("simpleitk", ["dsc", "", "hd"]),
}


def tables(record: dict[str, Any]) -> str:
    """Return both tables in Markdown."""
    return f"{scores_of_peers(record)}\n\n{empty_masks(record)}"


def scores_of_peers(record: dict[str, Any]) -> str:
    rows = [["", "NSD", "HD95", "HD", "average"]]
    for title, (source, peer, names) in PEERS.items():
        cells = []
        for name in names:
            scores = [record[source or "ours"][case] for case in CASES]
            values = [(row[peer] if source else row).get(name, "") for row in scores]
            cells.append(" / ".join(map(shown, values)) if name else "")
        rows.append([title, *cells])
    return markdown(rows)


def empty_masks(record: dict[str, Any]) -> str:
    cases = ("both empty", "prediction empty", "reference empty")
    rows = [["DSC / NSD / HD95 (SimpleITK: HD)", *cases]]
    for title, (peer, names) in EMPTY.items():
        cells = []
        for case in cases:
            scores = record["theirs"][case][peer]
            whole = scores.get("all")
            cells.append(" / ".join(shown(whole or scores.get(name, "")) for name in names))
        rows.append([title, *cells])
    return markdown(rows)


def shown(value: float | str) -> str:
    """Return a score with the digits that tell definitions apart, or what stands for it."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else value or "-"


def markdown(rows: list[Cells]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    print(tables(json.loads(RESULTS.read_text(encoding="utf-8"))))
