"""How far the surface scores of voxel bodies are from the closed forms of the bodies.

``python benchmarks/analytic.py`` prints the table of CORRECTNESS.md of flare-metrics, each value
with its error in parentheses, and keeps it in ``benchmarks/results/analytic.json``; no times.

Two equal balls, moved by d (no more than the radius): distances are uniform on [0, d]. Two balls
around one center: all distances are the difference of the radii. Two boxes, moved by d along an
axis: see `box_pair`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray

from flare_metrics import average_surface_distance, hausdorff, surface_dice

RESULTS = Path(__file__).parent / "results" / "analytic.json"
VOXELS_MM = ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25),
             (2.5, 0.8, 0.8), (0.625, 0.2, 0.2))  # fmt: skip
RADIUS_MM = 12.0
MOVE_MM = 4.0

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What is compared: shares within a half of the move, and distances in mm."""

    nsd: float
    hd95_mm: float
    hd_mm: float
    assd_mm: float


def ball(
    shape: tuple[int, ...], spacing: NDArray[np.float64], center: NDArray[np.float64], radius: float
) -> NDArray[np.bool_]:
    """Return the voxels whose centers lie in a ball."""
    squares = [
        ((np.arange(n) + 0.5) * step - at) ** 2
        for n, step, at in zip(shape, spacing, center, strict=True)
    ]
    inside: NDArray[np.bool_] = (
        squares[0][:, None, None] + squares[1][:, None] + squares[2] <= radius**2
    )
    return inside


def ball_pair(
    spacing: NDArray[np.float64], radii: tuple[float, float], move: NDArray[np.float64]
) -> Masks:
    """Return two balls on a grid that is not aligned with them."""
    size = 2 * (max(radii) + float(np.linalg.norm(move)))
    shape = tuple(math.ceil(size / step) + 4 for step in spacing)
    center = (np.array(shape) / 2 + 0.123) * spacing
    return (
        ball(shape, spacing, center - move / 2, radii[0]),
        ball(shape, spacing, center + move / 2, radii[1]),
    )


def box_pair(spacing: NDArray[np.float64]) -> tuple[Masks, Scores]:
    """Return boxes of 20 x 20 x 30 mm, moved along the longest side, and their closed form.

    Of the sides, a part as long as the move sticks out and lies up to the move away; one end lies
    the whole move away; the other end lies inside, near the other box's end or one of its sides.
    """
    b = c = 20.0
    a, d, t = 30.0, MOVE_MM, MOVE_MM / 2
    shape = tuple(
        math.ceil(size / step) + 4 for size, step in zip((b, c, a + d), spacing, strict=True)
    )
    masks = np.zeros((2, *shape), bool)
    for mask, start in zip(masks, (0.0, d), strict=True):
        box = []
        for step, low, size in zip(spacing, (0.0, 0.0, start), (b, c, a), strict=True):
            first = 2 + round(low / step)
            box.append(slice(first, first + round(size / step)))
        mask[tuple(box)] = True
    area = 2 * a * (b + c) + 2 * b * c
    near = 2 * (b + c) * (a - d + t) + b * c - (b - 2 * t) * (c - 2 * t)
    total = (b + c) * d**2 + b * c * d + b * c * d - (b + c) * d**2 + 4 * d**3 / 3
    beyond = distance_of_95_percent(
        lambda s: 2 * (b + c) * (a - d + s) + b * c - (b - 2 * s) * (c - 2 * s), area
    )
    return (masks[0], masks[1]), Scores(
        nsd=near / area, hd95_mm=beyond, hd_mm=d, assd_mm=total / area
    )


def distance_of_95_percent(area_within: Any, area: float) -> float:
    """Return the distance within which 95 % of the area lie, by bisection."""
    low, high = 0.0, MOVE_MM
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if area_within(middle) >= 0.95 * area else (middle, high)
    return high


def bodies(spacing: NDArray[np.float64]) -> Iterator[tuple[str, Masks, Scores]]:
    """Yield a name, two masks and the closed form."""
    uniform = Scores(nsd=0.5, hd95_mm=0.95 * MOVE_MM, hd_mm=MOVE_MM, assd_mm=MOVE_MM / 2)
    move = MOVE_MM * np.array((1, 2, 3)) / math.sqrt(14)
    yield "balls moved", ball_pair(spacing, (RADIUS_MM, RADIUS_MM), move), uniform
    gap = Scores(nsd=0.0, hd95_mm=MOVE_MM, hd_mm=MOVE_MM, assd_mm=MOVE_MM)
    radii = (RADIUS_MM, RADIUS_MM + MOVE_MM)
    yield "balls around one center", ball_pair(spacing, radii, np.zeros(3)), gap
    masks, exact = box_pair(spacing)
    yield "boxes moved", masks, exact


def scores(masks: Masks, spacing: NDArray[np.float64]) -> Scores:
    """Return our scores."""
    return Scores(
        nsd=surface_dice(*masks, spacing_mm=spacing, tolerance_mm=MOVE_MM / 2),
        hd95_mm=hausdorff(*masks, spacing_mm=spacing),
        hd_mm=hausdorff(*masks, spacing_mm=spacing, percentile=100),
        assd_mm=average_surface_distance(*masks, spacing_mm=spacing),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    print("| body | voxel, mm | NSD(2 mm) | HD95, mm | HD, mm | average, mm |")
    print("|---|---|---|---|---|---|")
    rows = []
    for voxel in VOXELS_MM:
        spacing = np.array(voxel)
        for name, masks, exact in bodies(spacing):
            found, closed = asdict(scores(masks, spacing)), asdict(exact)
            cells = [f"{found[key]:.3f} ({found[key] - closed[key]:+.3f})" for key in closed]
            size = " x ".join(f"{step:g}" for step in voxel)
            print(f"| {name} | {size} | {' | '.join(cells)} |", flush=True)
            rows.append({"body": name, "voxel_mm": voxel, "found": found, "exact": closed})
    record = {"machine": describe_machine("flare-metrics", "numpy", "scipy"), "rows": rows}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
