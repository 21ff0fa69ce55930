"""All labels of one case, scored by a protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arguments import checked_spacing, same_shape
from flare_metrics.casts import cast_labels
from flare_metrics.official import sets_all_to_zero, zero_scores
from flare_metrics.overlap import dice_of_counts
from flare_metrics.protocols import Label, Protocol, protocol
from flare_metrics.scores import CaseScore, LabelScore, Presence
from flare_metrics.surface import surface_dice

__all__ = ["refuse_other_labels", "score_case", "score_missing"]

_Box = tuple[slice, ...]


def score_case(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    protocol: str | Protocol = "sound",
) -> CaseScore:
    """Score every label of a protocol in one case.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) integer array
        Label maps on the same grid. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0.
    protocol : str or Protocol
        Name or value; see `flare_metrics.protocols`.

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
    Each array is read once to find where the labels lie; all else happens in the box around a
    label. A label absent in one of the two scores DSC = NSD = 0.

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
    maps = tuple(
        _label_map(cast_labels(np.asarray(array), rules.cast), name)
        for array, name in ((prediction, "prediction"), (reference, "reference"))
    )
    same_shape(*maps)
    spacing = checked_spacing(spacing_mm, maps[0].ndim)
    for array, name in zip(maps, ("prediction", "reference"), strict=True):
        refuse_other_labels(array, name, rules)
    if sets_all_to_zero(maps[0], rules):
        return zero_scores(*maps, spacing_mm=spacing, protocol=rules)
    boxes = tuple(_boxes_of_labels(array, rules) for array in maps)
    scores = [
        _score_label(maps, (boxes[0].get(label.id), boxes[1].get(label.id)), spacing, label, rules)
        for label in rules.labels
    ]
    return CaseScore(rules.name, tuple(scores))


def score_missing(
    reference: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    protocol: str | Protocol = "sound",
    reason: str = "no prediction",
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
            )
        )
    return CaseScore(rules.name, tuple(scores))


def _protocol(value: str | Protocol) -> Protocol:
    return value if isinstance(value, Protocol) else protocol(value)


def _label_map(array: NDArray[Any], name: str) -> NDArray[Any]:
    array = np.asarray(array)
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
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if set(range(low, high + 1)) <= known:
        return
    other = [int(value) for value in np.unique(array) if int(value) not in known]
    if other:
        raise ValueError(
            f"{name} must hold only labels of protocol {rules.name}, found {_listed(other)}; "
            "use the protocol they belong to, or one whose TOML says other_labels = 'ignore'"
        )


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")


def _boxes_of_labels(array: NDArray[Any], rules: Protocol) -> dict[int, _Box]:
    from scipy.ndimage import find_objects

    if array.size == 0:
        return {}
    highest = max(label.id for label in rules.labels)
    if array.dtype.itemsize < 4 or array.dtype == np.int32:
        found = find_objects(array, highest)
    else:
        # find_objects works in C int, where a large 64-bit value would wrap onto a label.
        found = find_objects(
            np.where((array > 0) & (array <= highest), array, 0).astype(np.int32), highest
        )
    return {label: box for label, box in enumerate(found, 1) if box is not None}


def _score_label(
    maps: tuple[NDArray[Any], ...],
    boxes: tuple[_Box | None, _Box | None],
    spacing: tuple[float, ...],
    label: Label,
    rules: Protocol,
) -> LabelScore:
    masks = tuple(
        array[box] == label.id if box else np.zeros((0,) * array.ndim, bool)
        for array, box in zip(maps, boxes, strict=True)
    )
    voxel_ml = math.prod(spacing) / 1000 if len(spacing) == 3 else 0.0
    volumes = [float(np.count_nonzero(mask)) * voxel_ml for mask in masks]
    dsc = nsd = 0.0
    reason = ""
    if boxes[0] and boxes[1]:
        joint = _scored_box(boxes[0], boxes[1], label, rules)
        if joint is None:
            dsc = nsd = math.nan
            reason = "reference on a single slice: the official script stops here"
        else:
            dsc, nsd = _agreement(
                maps[0][joint] == label.id, maps[1][joint] == label.id, spacing, label, rules
            )
    elif not boxes[0] and not boxes[1]:
        if rules.both_empty == "one":
            dsc = nsd = 1.0
        else:
            dsc = nsd = math.nan
            reason = "absent in both"
    return LabelScore(
        id=label.id,
        name=label.name,
        kind=label.kind,
        presence=_presence(bool(boxes[0]), bool(boxes[1])),
        dsc=dsc,
        nsd=nsd,
        prediction_ml=volumes[0],
        reference_ml=volumes[1],
        reason=reason,
    )


def _presence(predicted: bool, referenced: bool) -> Presence:
    if predicted:
        return "both" if referenced else "prediction only"
    return "reference only" if referenced else "neither"


def _scored_box(prediction: _Box, reference: _Box, label: Label, rules: Protocol) -> _Box | None:
    """Return the box around both, cut in z where the protocol says so; None if that is empty."""
    box = [
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(prediction, reference, strict=True)
    ]
    if label.id in rules.z_crop_labels and rules.z_crop != "none":
        stop = reference[0].stop - (1 if rules.z_crop == "half-open" else 0)
        if stop == reference[0].start:
            return None
        box[0] = slice(reference[0].start, stop)
    return tuple(box)


def _agreement(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing: tuple[float, ...],
    label: Label,
    rules: Protocol,
) -> tuple[float, float]:
    common = int(np.count_nonzero(prediction & reference))
    dsc = dice_of_counts(
        common, int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    )
    if rules.nsd_threshold is not None and dsc < rules.nsd_threshold:
        nsd = 0.0
    else:
        nsd = surface_dice(
            prediction,
            reference,
            spacing_mm=spacing,
            tolerance_mm=label.tolerance_mm,
            tie=rules.tie,
        )
    if rules.decimals is not None:
        # NumPy's rounding, as in the official scripts: Python's own may differ in the last digit.
        dsc, nsd = (float(np.round(value, rules.decimals)) for value in (dsc, nsd))
    return dsc, nsd
