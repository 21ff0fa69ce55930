"""Fourteen labels of a case, scored by ours and by each peer; see `metrics_worker`.

Each function imports what it scores by, so that a peer's environment needs none of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDES", "Case", "Scores"]

Scores = dict[str, dict[str, float]]
"""For each label, as text, its scores by name."""


@dataclass(frozen=True, eq=False)
class Case:
    """Label maps in memory, and how they are scored: for ours by rules, for peers by tolerances."""

    prediction: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    spacing_mm: tuple[float, ...]
    tolerances_mm: dict[int, float]
    rules: Any = None


def ours(case: Case, *, distances: bool) -> Scores:
    from flare_metrics import score_case

    more = {"distances": True} if distances else {}
    score = score_case(
        case.prediction, case.reference, spacing_mm=case.spacing_mm, protocol=case.rules, **more
    )
    names = {"dsc": "dsc", "nsd": "nsd"}
    if distances:
        names |= {"hd95": "hd95_mm", "assd": "assd_mm"}
    return {
        str(label.id): {name: getattr(label, field) for name, field in names.items()}
        for label in score.labels
    }


def ours_default(case: Case, *, distances: bool) -> Scores:
    """Score as the command does: own tolerances, slices of some labels, lesions one by one."""
    from flare_metrics import protocol

    return ours(replace(case, rules=protocol("sound")), distances=distances)


def surface_distance(case: Case, *, distances: bool) -> Scores:
    import surface_distance as peer

    scores: Scores = {}
    for label, tolerance in case.tolerances_mm.items():
        prediction, reference = case.prediction == label, case.reference == label
        found = peer.compute_surface_distances(reference, prediction, case.spacing_mm)
        row = {
            "dsc": float(peer.compute_dice_coefficient(reference, prediction)),
            "nsd": float(peer.compute_surface_dice_at_tolerance(found, tolerance)),
        }
        if distances:
            row["hd95"] = float(peer.compute_robust_hausdorff(found, 95))
            averages = peer.compute_average_surface_distance(found)
            areas = [found[f"surfel_areas_{side}"].sum() for side in ("gt", "pred")]
            # The peer leaves it to its user to make one number of the two.
            row["assd"] = float(np.dot(averages, areas) / sum(areas))
        scores[str(label)] = row
    return scores


def monai(case: Case, *, distances: bool) -> Scores:
    import torch
    from monai.metrics import compute_dice, compute_surface_dice

    scores: Scores = {}
    for label, tolerance in case.tolerances_mm.items():
        masks = [
            torch.from_numpy(array == label)[None, None]
            for array in (case.prediction, case.reference)
        ]
        scores[str(label)] = {
            "dsc": float(compute_dice(*masks, include_background=True)),
            "nsd": float(
                compute_surface_dice(
                    *masks,
                    [tolerance],
                    include_background=True,
                    spacing=list(case.spacing_mm),
                    use_subvoxels=True,
                )
            ),
        }
    return scores


def pymia(case: Case, *, distances: bool) -> Scores:
    from pymia.evaluation import metric as peer

    scores: Scores = {}
    for label, tolerance in case.tolerances_mm.items():
        masks = [(array == label).astype(np.uint8) for array in (case.prediction, case.reference)]
        # What its evaluator does; the evaluator itself calls what is gone from NumPy 2.4.
        dice, surface = peer.DiceCoefficient(), peer.SurfaceDiceOverlap(tolerance=tolerance)
        dice.confusion_matrix = peer.ConfusionMatrix(*masks)
        surface.distances = peer.Distances(*masks, case.spacing_mm)
        scores[str(label)] = {"dsc": float(dice.calculate()), "nsd": float(surface.calculate())}
    return scores


SIDES: dict[str, Callable[..., Scores]] = {
    "ours": ours,
    "ours, default": ours_default,
    "surface-distance": surface_distance,
    "monai": monai,
    "pymia": pymia,
}
