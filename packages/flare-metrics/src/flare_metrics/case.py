"""All labels of one case, scored by a protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arguments import as_array, checked_spacing, same_shape
from flare_metrics._arrays import array_module
from flare_metrics._label_pair import LabelPair, label_pairs
from flare_metrics.casts import cast_labels
from flare_metrics.detection import DetectionScore, detection_score
from flare_metrics.official import sets_all_to_zero, zero_scores
from flare_metrics.overlap import dice_of_counts
from flare_metrics.protocols import Label, Protocol, protocol
from flare_metrics.scores import CaseScore, LabelScore, Presence

__all__ = ["refuse_other_labels", "score_case", "score_missing"]


def score_case(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    protocol: str | Protocol = "sound",
    distances: bool = False,
) -> CaseScore:
    """Score every label of a protocol in one case.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) integer array
        Label maps on the same grid, NumPy or CuPy. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0.
    protocol : str or Protocol
        Name or value; see `flare_metrics.protocols`.
    distances : bool
        Find HD95 and ASSD too.

    Returns
    -------
    CaseScore

    Raises
    ------
    TypeError
        If an array does not hold integers (or bools).
    ValueError
        If the shapes differ, the spacing is wrong, or a value is outside a protocol that refuses
        such.

    Notes
    -----
    Each array is looked at once for all labels; after that, work and memory grow with the
    surfaces. A label absent in one of the two scores DSC = NSD = 0, and its distances are
    infinite. ``z_crop`` needs three axes.

    Examples
    --------
    >>> reference = np.zeros((4, 4, 4), np.uint8)
    >>> reference[1:3, 1:3, 1:3] = 1
    >>> prediction = reference.copy()
    >>> prediction[1, 1, 1] = 0
    >>> score = score_case(prediction, reference, spacing_mm=(2, 1, 1))[1]
    >>> round(score.dsc, 4), score.nsd, score.presence
    (0.9333, 1.0, 'both')
    """
    rules = _protocol(protocol)
    maps = (
        _label_map(cast_labels(as_array(prediction), rules.cast), "prediction"),
        _label_map(cast_labels(as_array(reference), rules.cast), "reference"),
    )
    same_shape(*maps)
    spacing = checked_spacing(spacing_mm, maps[0].ndim)
    for array, name in zip(maps, ("prediction", "reference"), strict=True):
        refuse_other_labels(array, name, rules)
    if sets_all_to_zero(maps[0], rules):
        return zero_scores(*maps, spacing_mm=spacing, protocol=rules)
    pairs = label_pairs(*maps, spacing_mm=spacing, ids=[label.id for label in rules.labels])
    scores = [_score_label(pairs[label.id], label, rules, distances) for label in rules.labels]
    return CaseScore(rules.name, tuple(scores))


def score_missing(
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    protocol: str | Protocol = "sound",
    reason: str = "no prediction",
    distances: bool = False,
) -> CaseScore:
    """Score a case whose prediction is missing or cannot be used.

    Parameters
    ----------
    reference : (z, y, x) integer array
        Label map.
    spacing_mm : (3,) float
        Voxel size in array order, > 0.
    protocol : str or Protocol
        Its ``missing_prediction`` decides: 0 for every label of the reference, or no scores.
    reason : str
        Written where there are no scores.
    distances : bool
        Give the missing labels their distance, which is infinite.

    Examples
    --------
    >>> reference = np.ones((2, 2, 2), np.uint8)
    >>> score = score_missing(reference, spacing_mm=(1, 1, 1))
    >>> score[1].dsc, score[2].dsc, score[2].reason
    (0.0, nan, 'absent in reference')
    """
    rules = _protocol(protocol)
    worst = rules.missing_prediction == "worst"
    voxel_ml = math.prod(checked_spacing(spacing_mm, reference.ndim)) / 1000
    scores = []
    for label in rules.labels:
        volume = float(np.count_nonzero(reference == label.id)) * voxel_ml
        score = 0.0 if worst and volume else math.nan
        unscored = "absent in reference" if worst else reason
        scores.append(
            LabelScore(
                id=label.id,
                name=label.name,
                kind=label.kind,
                presence="reference only" if volume else "neither",
                dsc=score,
                nsd=score,
                reference_ml=volume,
                reason=unscored if math.isnan(score) else "",
                hd95_mm=math.inf if distances and score == 0 else math.nan,
                assd_mm=math.inf if distances and score == 0 else math.nan,
                detection=_all_missed(reference, label, spacing_mm, rules) if score == 0 else None,
            )
        )
    return CaseScore(rules.name, tuple(scores))


def _protocol(value: str | Protocol) -> Protocol:
    return value if isinstance(value, Protocol) else protocol(value)


def _label_map(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be an integer label map, got {array.dtype}")
    return array


def refuse_other_labels(array: NDArray[Any], name: str, rules: Protocol) -> None:
    """Raise if a label map holds values that the protocol neither knows nor ignores."""
    if rules.other_labels == "ignore":
        return
    if rules.other_labels == "zero" and name == "prediction":
        return
    known = {0, *(label.id for label in rules.labels)}
    high = int(array.max()) if array.size else 0
    low = 0 if array.dtype.kind == "u" or not array.size else int(array.min())
    if set(range(low, high + 1)) <= known:
        return
    other = [int(value) for value in array_module(array).unique(array) if int(value) not in known]
    if other:
        raise ValueError(
            f"{name} must hold only labels of protocol {rules.name}, found {_listed(other)}; "
            "use the protocol they belong to, or one whose TOML says other_labels = 'ignore'"
        )


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")


def _score_label(pair: LabelPair, label: Label, rules: Protocol, distances: bool) -> LabelScore:
    volumes = pair.volumes_ml
    dsc, nsd, hd95, assd = 0.0, 0.0, math.nan, math.nan
    reason = ""
    if pair.in_both:
        scored = pair
        if label.id in rules.z_crop_labels and rules.z_crop != "none":
            scored = pair.on_slices_of_reference(drop_last=rules.z_crop == "half-open")
        if scored.reference is None:
            dsc = nsd = math.nan
            reason = "reference on a single slice: the official script stops here"
        else:
            dsc, nsd, hd95, assd = _agreement(scored, label, rules, distances)
            if math.isnan(nsd):
                dsc, reason = math.nan, "no surface but on the edge of the array"
    elif pair.in_neither:
        dsc = nsd = 1.0 if rules.both_empty == "one" else math.nan
        reason = "" if rules.both_empty == "one" else "absent in both"
    elif distances:
        hd95 = assd = math.inf
    return LabelScore(
        id=label.id,
        name=label.name,
        kind=label.kind,
        presence=_presence(pair),
        dsc=dsc,
        nsd=nsd,
        prediction_ml=volumes[0],
        reference_ml=volumes[1],
        reason=reason,
        hd95_mm=hd95,
        assd_mm=assd,
        detection=_detection(pair, label, rules),
    )


def _presence(pair: LabelPair) -> Presence:
    if pair.prediction is None:
        return "neither" if pair.reference is None else "reference only"
    return "prediction only" if pair.reference is None else "both"


def _agreement(
    pair: LabelPair, label: Label, rules: Protocol, distances: bool
) -> tuple[float, float, float, float]:
    """Return DSC, NSD, HD95 and ASSD of a label that the reference holds."""
    dsc = dice_of_counts(*pair.counts)
    if pair.prediction is None:
        nsd, far = 0.0, math.inf if distances else math.nan
        return dsc, nsd, far, far
    hd95 = assd = math.nan
    surfaces = pair.surfaces(rules.edge)
    if surfaces is None:
        return dsc, math.nan, hd95, assd
    if distances:
        # First, so that NSD needs no search of its own.
        hd95, assd = surfaces.hausdorff(95.0), surfaces.mean_distance("symmetric")
    if rules.nsd_threshold is not None and dsc < rules.nsd_threshold:
        nsd = 0.0
    else:
        nsd = surfaces.surface_dice(label.tolerance_mm, rules.tie)
    if rules.decimals is not None:
        # NumPy's rounding, as in the official scripts: Python's own may differ in the last digit.
        dsc, nsd = (float(np.round(value, rules.decimals)) for value in (dsc, nsd))
    return dsc, nsd, hd95, assd


def _all_missed(
    reference: NDArray[Any], label: Label, spacing_mm: Sequence[float], rules: Protocol
) -> DetectionScore | None:
    if label.kind != "lesion" or rules.detection == "none":
        return None
    mask = reference == label.id
    empty = np.zeros_like(mask)
    return detection_score(empty, mask, spacing_mm=spacing_mm, rule=rules.detection)


def _detection(pair: LabelPair, label: Label, rules: Protocol) -> DetectionScore | None:
    if label.kind != "lesion" or rules.detection == "none":
        return None
    return detection_score(*pair.masks(), spacing_mm=pair.spacing_mm, rule=rules.detection)
