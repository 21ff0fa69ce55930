"""Measuring a dataset for its fingerprint: every case once, in parallel, resumable.

``DIR/<case>.json`` keeps what was measured of a case under the key of its files, so that a killed
measurement goes on and a changed file is measured again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flare_io.atomic import write_json
from flare_io.crop import Box, nonzero_box
from flare_io.geometry import canonical_axis_order
from flare_io.intensity import Intensity
from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume, require_same_grid
from flare_train.cases import checked_labels, content_key
from flare_train.errors import TrainingDataError
from flare_train.fingerprint import Fingerprint, ForegroundIntensities
from flare_train.memory_admission import preparation_bytes, run_admitted
from flare_train.store import IGNORED
from flare_train.training_case import TrainingCase

__all__ = ["distinct_values", "pooled_intensities", "take_fingerprint"]

Values = NDArray[np.float64]
_FORMAT = 1
_UNSCALED = Intensity(scheme="none")
_MOST_VALUES = 5000


def take_fingerprint(
    cases: Sequence[TrainingCase],
    folder: os.PathLike[str] | str,
    *,
    table: LabelTable,
    axes: Literal["canonical", "as_stored"] = "canonical",
    jobs: int = 1,
    memory_bytes: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Fingerprint:
    """Measure spacings, shapes and foreground intensities of a dataset.

    Parameters
    ----------
    cases : sequence of TrainingCase
        Unlabeled ones count for spacings and shapes only.
    folder : path
        Keeps what was measured of each case.
    table : LabelTable
        Label ids that may occur.
    axes : {"canonical", "as_stored"}, optional
        Order of the axes in the fingerprint, as in `flare_io.Preprocessing`.
    jobs, memory_bytes, progress
        As for `flare_train.cases.build_store`.

    Returns
    -------
    Fingerprint
        Spacings and shapes in the order of the cases.

    Raises
    ------
    TrainingDataError
        If no case has a foreground voxel, or cases differ in their channels.
    flare_io.UnreadableVolumeError, flare_io.GeometryError, flare_io.LabelError, MemoryError
        As for `flare_train.cases.build_store`.

    Notes
    -----
    nnU-Net's rules: images are cropped to what is not 0, every voxel with a label counts as
    foreground, and every case weighs the same however much foreground it holds. Where nnU-Net draws
    voxels with replacement, all voxels are taken; a case with more than 5000 distinct values is
    kept as 5000 evenly spaced order statistics. Voxels without statement are no foreground here.

    References
    ----------
    nnU-Net v2, `DatasetFingerprintExtractor`.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    grid = Preprocessing(spacing_mm=None, intensities=(_UNSCALED,), axes=axes)
    tasks = {case.id: partial(_measure_stored, case, root, table, axes) for case in cases}
    needs = {case.id: preparation_bytes(case.image, grid, label_maps=1) for case in cases}
    found: dict[str, dict[str, Any]] = {}
    for id, row in run_admitted(tasks, needs, jobs=jobs, memory_bytes=memory_bytes):
        found[id] = row
        if progress is not None:
            progress(id, len(found), len(cases))
    rows = [found[case.id] for case in cases]
    return Fingerprint(
        spacings_mm=tuple(tuple(row["spacing_mm"]) for row in rows),
        shapes=tuple(tuple(row["shape"]) for row in rows),
        intensities=_by_channel(cases, rows),
        relative_size=float(np.median([row["relative_size"] for row in rows])),
    )


def distinct_values(values: NDArray[Any]) -> dict[str, Any]:
    """Summarize the foreground of one channel of one case.

    Parameters
    ----------
    values : (n,) array
        At least one.

    Returns
    -------
    dict
        ``values`` rising, their ``counts``, and over all voxels ``mean``, ``mean_square``,
        ``minimum``, ``maximum``.

    Examples
    --------
    >>> (
    ...     distinct_values(np.array([2, 1, 2]))["values"],
    ...     distinct_values(np.array([2, 1, 2]))["counts"],
    ... )
    ([1.0, 2.0], [1, 2])
    """
    distinct, counts = np.unique(values, return_counts=True)
    exact = values.astype(np.float64)
    summary = {
        "mean": float(exact.mean()),
        "mean_square": float(np.square(exact).mean()),
        "minimum": float(distinct[0]),
        "maximum": float(distinct[-1]),
    }
    if len(distinct) > _MOST_VALUES:
        ranks = (np.arange(_MOST_VALUES) + 0.5) / _MOST_VALUES * len(exact)
        distinct = np.sort(exact)[ranks.astype(int)]
        counts = np.ones(_MOST_VALUES, int)
    return {
        "values": distinct.astype(np.float64).tolist(),
        "counts": counts.tolist(),
        **summary,
    }


def pooled_intensities(summaries: Sequence[dict[str, Any]]) -> ForegroundIntensities:
    """Pool the summaries of cases, each with the same weight.

    Examples
    --------
    >>> low, high = distinct_values(np.zeros(7)), distinct_values(np.array([10, 10]))
    >>> pooled = pooled_intensities([low, high])
    >>> pooled.mean, pooled.std, pooled.low, pooled.high
    (5.0, 5.0, 0.0, 10.0)
    """
    values = np.concatenate([np.array(row["values"], np.float64) for row in summaries])
    weights = np.concatenate(
        [np.array(row["counts"], np.float64) / sum(row["counts"]) for row in summaries]
    )
    order = np.argsort(values, kind="stable")
    values, reached = values[order], np.cumsum(weights[order]) / len(summaries)
    # Rounding of the sum must not move a percentile to the next value.
    ranks = np.searchsorted(reached, np.array([0.005, 0.5, 0.995]) - 1e-9)
    low, median, high = values[np.minimum(ranks, len(values) - 1)].tolist()
    mean = float(np.mean([row["mean"] for row in summaries]))
    square = float(np.mean([row["mean_square"] for row in summaries]))
    return ForegroundIntensities(
        mean=mean,
        median=median,
        std=float(np.sqrt(max(0.0, square - mean**2))),
        low=low,
        high=high,
        minimum=min(row["minimum"] for row in summaries),
        maximum=max(row["maximum"] for row in summaries),
    )


def _by_channel(
    cases: Sequence[TrainingCase], rows: Sequence[dict[str, Any]]
) -> tuple[ForegroundIntensities, ...]:
    channels = len(cases[0].image)
    for case in cases:
        if len(case.image) != channels:
            raise TrainingDataError(
                f"{case.id}: all cases must have the same channels, found {len(case.image)} here "
                f"and {channels} in {cases[0].id}; complete it or leave it out"
            )
    with_foreground = [row["channels"] for row in rows if row["channels"]]
    if not with_foreground:
        names = ", ".join(case.id for case in cases[:3])
        raise TrainingDataError(
            f"{names}{', ...' if len(cases) > 3 else ''}: none of the {len(cases)} label maps has "
            "a voxel other than background; check that labels and images belong together"
        )
    return tuple(
        pooled_intensities([row[channel] for row in with_foreground]) for channel in range(channels)
    )


def _measure_stored(case: TrainingCase, root: Path, table: LabelTable, axes: str) -> dict[str, Any]:
    path = root / f"{case.id}.json"
    key = content_key(case, ["measurement", _FORMAT, axes])
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        pass
    row = {"key": key, **_measure(case, table, axes)}
    write_json(path, row)
    return row


def _measure(case: TrainingCase, table: LabelTable, axes: str) -> dict[str, Any]:
    from flare_io.files import read_label_map, read_volume

    images = [read_volume(path) for path in case.image]
    for path, image in zip(case.image[1:], images[1:], strict=True):
        require_same_grid(image, images[0], name=str(path))
    box = _joint_box(images)
    channels = []
    if case.label is not None:
        labels = checked_labels(read_label_map(case.label), case, table)
        require_same_grid(labels, images[0], name=str(case.label))
        inside = box.extract(labels.array)
        foreground = (inside != 0) & (inside != IGNORED)
        if foreground.any():
            channels = [distinct_values(box.extract(each.array)[foreground]) for each in images]
    order = (0, 1, 2)
    if axes == "canonical":
        order = canonical_axis_order(images[0].geometry).permutation
    return {
        "spacing_mm": [images[0].geometry.spacing_mm[axis] for axis in order],
        "shape": [box.shape[axis] for axis in order],
        "relative_size": float(np.prod(box.shape) / np.prod(images[0].shape)),
        "channels": channels,
    }


def _joint_box(images: Sequence[Volume]) -> Box:
    boxes = [nonzero_box(image.array) for image in images if image.array.any()]
    if not boxes:
        return Box.whole(images[0].shape)
    start = np.min([box.start for box in boxes], axis=0).tolist()
    stop = np.max([box.stop for box in boxes], axis=0).tolist()
    return Box(tuple(start), tuple(stop))
