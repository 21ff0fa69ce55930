"""Runs in the peers' interpreter: every peer's scores of the cases that `metrics.py` has written.

``python metrics_peers.py CASES.npz RESULTS.json``; where a peer raises, the name of the error
stands for its score.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

PEERS = ("surface-distance", "monai", "pymia", "seg_metrics", "SimpleITK", "numpy", "scipy")
Scores = Iterator[tuple[str, Callable[[], float]]]


def surface_distance(prediction, reference, spacing, tolerance) -> Scores:
    import surface_distance as peer

    distances = peer.compute_surface_distances(reference, prediction, spacing)
    average = peer.compute_average_surface_distance
    yield "dsc", lambda: peer.compute_dice_coefficient(reference, prediction)
    yield "nsd", lambda: peer.compute_surface_dice_at_tolerance(distances, tolerance)
    yield "hd", lambda: peer.compute_robust_hausdorff(distances, 100)
    yield "hd95", lambda: peer.compute_robust_hausdorff(distances, 95)
    yield "average from prediction", lambda: average(distances)[1]
    yield "average from reference", lambda: average(distances)[0]


def monai(prediction, reference, spacing, tolerance) -> Scores:
    import torch
    from monai import metrics as peer

    masks = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    voxel = {"include_background": True, "spacing": list(map(float, spacing))}

    def nsd(subvoxels):
        return float(
            peer.compute_surface_dice(*masks, [tolerance], use_subvoxels=subvoxels, **voxel)
        )

    hausdorff, average = peer.compute_hausdorff_distance, peer.compute_average_surface_distance
    yield "dsc", lambda: float(peer.compute_dice(*masks, include_background=True))
    yield "nsd, subvoxels", lambda: nsd(True)
    yield "nsd, default", lambda: nsd(False)
    yield "hd", lambda: float(hausdorff(*masks, **voxel))
    yield "hd95", lambda: float(hausdorff(*masks, percentile=95, **voxel))
    yield "average from prediction", lambda: float(average(*masks, **voxel))
    yield "average", lambda: float(average(*masks, symmetric=True, **voxel))


def pymia(prediction, reference, spacing, tolerance) -> Scores:
    from pymia.evaluation import metric as peer

    def score(metric):
        # What pymia's evaluator does; its own call of numpy.in1d is gone from NumPy 2.4.
        masks = [mask.astype(np.uint8) for mask in (prediction, reference)]
        metric.confusion_matrix = peer.ConfusionMatrix(*masks)
        if isinstance(metric, peer.DistanceMetric):
            metric.distances = peer.Distances(*masks, tuple(spacing))
        return metric.calculate()

    yield "dsc", lambda: score(peer.DiceCoefficient())
    yield "jaccard", lambda: score(peer.JaccardCoefficient())
    yield "nsd", lambda: score(peer.SurfaceDiceOverlap(tolerance=tolerance))
    yield "hd", lambda: score(peer.HausdorffDistance())
    yield "hd95", lambda: score(peer.HausdorffDistance(percentile=95))


def seg_metrics(prediction, reference, spacing, tolerance) -> Scores:
    from seg_metrics.seg_metrics import write_metrics

    names = {"dsc": "dice", "jaccard": "jaccard", "hd": "hd", "hd95": "hd95", "average": "msd"}
    for contour, connected in (("", True), (", face contour", False)):
        found = write_metrics(
            labels=[1],
            gdth_img=reference.astype(np.uint8),
            pred_img=prediction.astype(np.uint8),
            spacing=np.asarray(spacing),
            metrics=list(names.values()),
            fully_connected=connected,
        )
        found = found[0] if isinstance(found, list) else found
        for name, key in names.items():
            yield name + contour, lambda key=key, found=found: float(found[key][0])


def simpleitk(prediction, reference, spacing, tolerance) -> Scores:
    import SimpleITK

    images = [image(mask, spacing) for mask in (reference, prediction)]

    def overlap(name):
        peer = SimpleITK.LabelOverlapMeasuresImageFilter()
        peer.Execute(*images)
        return getattr(peer, name)(1)

    def hausdorff(name):
        peer = SimpleITK.HausdorffDistanceImageFilter()
        peer.Execute(*images)
        return getattr(peer, name)()

    yield "dsc", lambda: overlap("GetDiceCoefficient")
    yield "jaccard", lambda: overlap("GetJaccardCoefficient")
    yield "hd", lambda: hausdorff("GetHausdorffDistance")
    yield "average", lambda: hausdorff("GetAverageHausdorffDistance")


def image(mask, spacing):
    import SimpleITK

    made = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    made.SetSpacing([float(step) for step in reversed(spacing)])
    return made


def value_of(function: Callable[[], float]) -> float | str:
    """Return a number, its name where JSON has none, or the error."""
    try:
        value = float(function())
    except Exception as error:
        return type(error).__name__
    return value if math.isfinite(value) else str(value)


def scores_of(peer: Callable[..., Scores], *case) -> dict[str, float | str]:
    try:
        return {name: value_of(function) for name, function in peer(*case)}
    except Exception as error:
        return {"all": type(error).__name__}


def main() -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    cases = np.load(sys.argv[1])
    results: dict[str, dict[str, dict[str, float | str]]] = {}
    for name in json.loads(str(cases["names"])):
        prediction, reference, spacing = (
            cases[f"{name}.{part}"] for part in ("prediction", "reference", "spacing_mm")
        )
        case = prediction, reference, spacing.tolist(), float(cases[f"{name}.tolerance_mm"])
        results[name] = {
            peer.__name__: scores_of(peer, *case)
            for peer in (surface_distance, monai, pymia, seg_metrics, simpleitk)
        }
    found = {"versions": {peer: version(peer) for peer in PEERS}, "scores": results}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
