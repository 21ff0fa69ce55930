"""Where an official script does something with a case that no score says: zero it, or stop.

Nothing here is for sound scores. The rules are those of JunMa11/FLARE's scripts of 2022 to 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module
from flare_metrics.protocols import Label, Protocol
from flare_metrics.scores import CaseScore, LabelScore, Presence

__all__ = ["score_unlike_shapes", "sets_all_to_zero", "stopped", "zero_scores"]

_Maps = tuple[NDArray[Any], NDArray[Any]]


def sets_all_to_zero(prediction: NDArray[Any], protocol: Protocol) -> bool:
    """Whether a predicted value outside the labels sets the whole case to 0.

    Examples
    --------
    >>> from flare_metrics.protocols import protocol
    >>> sets_all_to_zero(np.array([[0, 1, 2]]), protocol("flare24-task1"))
    True
    """
    if protocol.other_labels != "zero" or prediction.size == 0:
        return False
    known = {0, *(label.id for label in protocol.labels)}
    low, high = int(prediction.min()), int(prediction.max())
    if set(range(low, high + 1)) <= known:
        return False
    xp = array_module(prediction)
    return bool((~xp.isin(prediction, xp.asarray(sorted(known)))).any())


def zero_scores(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    protocol: Protocol,
) -> CaseScore:
    """Return 0 for every label, whatever the reference holds; the shapes may differ."""
    scores = []
    for label in protocol.labels:
        volumes = _volumes((prediction, reference), label, spacing_mm)
        scores.append(_label_score(label, volumes, 0.0))
    return CaseScore(protocol.name, tuple(scores))


def score_unlike_shapes(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    protocol: Protocol,
) -> CaseScore:
    """Score two maps of different shapes as a script does that never compares them.

    Parameters
    ----------
    prediction, reference : (z, y, x) integer array
        Label maps after the protocol's cast.
    spacing_mm : (3,) float
        Voxel size of the reference in array order, > 0.
    protocol : Protocol
        With ``geometry = "none"``.

    Returns
    -------
    CaseScore
        A label absent in one or both needs no common shape. One in both has none and a reason,
        unless the slices that ``z_crop`` keeps have the same shape in both.
    """
    if sets_all_to_zero(prediction, protocol):
        return zero_scores(prediction, reference, spacing_mm=spacing_mm, protocol=protocol)
    maps = prediction, reference
    return CaseScore(
        protocol.name,
        tuple(_score_unlike(maps, label, spacing_mm, protocol) for label in protocol.labels),
    )


def stopped(score: CaseScore) -> str:
    """Say at which label the script stops in a case; empty where it goes on.

    A label that both files hold and that has no score is such a place.
    """
    reasons = [
        f"{label.name}: {label.reason}"
        for label in score.labels
        if label.reason and label.presence == "both"
    ]
    return "; ".join(reasons)


def _score_unlike(
    maps: _Maps, label: Label, spacing_mm: Sequence[float], protocol: Protocol
) -> LabelScore:
    volumes = _volumes(maps, label, spacing_mm)
    if all(volumes):
        fitted = _on_the_same_slices(maps, label, protocol)
        if fitted is None:
            reason = f"shapes {maps[0].shape} and {maps[1].shape}: the official script stops here"
            return _label_score(label, volumes, math.nan, reason)
        from flare_metrics.case import score_case

        single = protocol.with_options(labels=(label,), z_crop_labels=(label.id,))
        score = score_case(fitted, maps[1], spacing_mm=spacing_mm, protocol=single)
        return replace(score[label.id], presence="both", prediction_ml=volumes[0])
    if any(volumes):
        return _label_score(label, volumes, 0.0)
    if protocol.both_empty == "one":
        return _label_score(label, volumes, 1.0)
    return _label_score(label, volumes, math.nan, "absent in both")


def _on_the_same_slices(maps: _Maps, label: Label, protocol: Protocol) -> NDArray[Any] | None:
    """Return the prediction on the reference's shape where only unscored slices tell them apart."""
    prediction, reference = maps
    if label.id not in protocol.z_crop_labels or protocol.z_crop == "none":
        return None
    slices = np.flatnonzero((reference == label.id).any(axis=(1, 2)))
    stop = int(slices[-1]) + (protocol.z_crop == "inclusive")
    if prediction.shape[1:] != reference.shape[1:] or len(prediction) < stop:
        return None
    fitted = np.zeros(reference.shape, prediction.dtype)
    common = min(len(prediction), len(reference))
    fitted[:common] = prediction[:common]
    return fitted


def _volumes(maps: _Maps, label: Label, spacing_mm: Sequence[float]) -> tuple[float, float]:
    voxel_ml = math.prod(float(length) for length in spacing_mm) / 1000
    predicted, true = (float((array == label.id).sum()) * voxel_ml for array in maps)
    return predicted, true


def _label_score(
    label: Label, volumes: tuple[float, float], value: float, reason: str = ""
) -> LabelScore:
    present: dict[tuple[bool, bool], Presence] = {
        (True, True): "both",
        (True, False): "prediction only",
        (False, True): "reference only",
        (False, False): "neither",
    }
    return LabelScore(
        id=label.id,
        name=label.name,
        kind=label.kind,
        presence=present[bool(volumes[0]), bool(volumes[1])],
        dsc=value,
        nsd=value,
        prediction_ml=volumes[0],
        reference_ml=volumes[1],
        reason=reason,
    )
