"""From the files of cases to the preprocessed store that training reads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.labels import LabelTable
from flare_io.preparation import Preparation, Prepared, prepare
from flare_io.preprocessing import Preprocessing
from flare_io.resample_labels import resample_labels
from flare_io.volume import Volume, require_same_grid
from flare_train.errors import TrainingDataError
from flare_train.memory_admission import preparation_bytes, run_admitted
from flare_train.store import FORMAT, IGNORED, StoredCase, stored_key, write_stored_case
from flare_train.training_case import TrainingCase, training_cases

__all__ = ["TrainingCase", "build_store", "checked_labels", "content_key", "training_cases"]

logger = logging.getLogger(__name__)


def build_store(
    cases: Sequence[TrainingCase],
    preprocessing: Preprocessing,
    folder: os.PathLike[str] | str,
    *,
    table: LabelTable,
    jobs: int = 1,
    memory_bytes: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[str, ...]:
    """Prepare cases and write them, each once.

    Parameters
    ----------
    cases : sequence of TrainingCase
    preprocessing : Preprocessing
        The same value goes into the model, so that inference prepares alike.
    folder : path
        See `flare_train.store`. Cases that lie there with the same content and settings are kept.
    table : LabelTable
        Label ids that may occur.
    jobs : int, optional
        Cases prepared at the same time, fewer where they would not fit in the memory together.
    memory_bytes : int, optional
        Memory that all of them may take; None: 0.8 of what is free.
    progress : callable, optional
        Called as ``progress(case, done, total)`` after each case.

    Returns
    -------
    tuple of str
        Ids of all cases, in the given order.

    Raises
    ------
    flare_io.UnreadableVolumeError, flare_io.GeometryError, flare_io.LabelError
        If a file is damaged, image and label lie on different grids, or a label is not in the
        table.
    TrainingDataError
        If an image holds NaN.
    MemoryError
        If a case alone would not fit, told before any is read, or a process was killed.

    Notes
    -----
    A bad case costs one case: all others are prepared before its error is raised. Safe against a
    kill at any moment; the next call goes on. Every case is identified by the SHA-256 of its files,
    so an exchanged file is noticed. With ``joblib.parallel_config(backend="dask")`` the cases go to
    a cluster.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    _check_ids(cases)
    tasks = {case.id: partial(_store_case, case, preprocessing, root, table) for case in cases}
    needs = {case.id: _need(case, preprocessing) for case in cases}
    for done, (id, _) in enumerate(
        run_admitted(tasks, needs, jobs=jobs, memory_bytes=memory_bytes), 1
    ):
        logger.debug("prepared %s", id)
        if progress is not None:
            progress(id, done, len(cases))
    return tuple(case.id for case in cases)


def content_key(case: TrainingCase, settings: Any) -> str:
    """Return what identifies a case's files and K together with settings ready for JSON."""
    digest = hashlib.sha256()
    about = [settings, sorted(case.annotated), case.ignore_label]
    digest.update(json.dumps(about, sort_keys=True).encode())
    for path in (*case.image, case.label, case.origins):
        if path is None:
            digest.update(b"none")
            continue
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _check_ids(cases: Sequence[TrainingCase]) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise TrainingDataError(f"{case.id}: this case was given twice; give it once")
        seen.add(case.id)


def _need(case: TrainingCase, preprocessing: Preprocessing) -> int:
    maps = (case.label is not None) + (case.origins is not None)
    return preparation_bytes(case.image, preprocessing, label_maps=maps)


def _store_case(
    case: TrainingCase, preprocessing: Preprocessing, root: Path, table: LabelTable
) -> str:
    key = content_key(case, [FORMAT, preprocessing.to_dict()])
    if stored_key(root, case.id) == key:
        return case.id
    write_stored_case(root, _prepared(case, preprocessing, table, key))
    return case.id


def _prepared(
    case: TrainingCase, preprocessing: Preprocessing, table: LabelTable, key: str
) -> StoredCase:
    prepared, origins = _read(case, preprocessing, table)
    return StoredCase.from_arrays(
        case.id,
        prepared.array,
        prepared.labels,
        spacing_mm=prepared.preparation.spacing_mm,
        annotated=case.annotated,
        origins=origins,
        key=key,
    )


def _read(
    case: TrainingCase, preprocessing: Preprocessing, table: LabelTable
) -> tuple[Prepared, NDArray[Any] | None]:
    """Return the case on the network's grid; the volumes of the files are gone by then."""
    from flare_io.files import read_label_map, read_volume

    images = [read_volume(path) for path in case.image]
    for path, image in zip(case.image[1:], images[1:], strict=True):
        require_same_grid(image, images[0], name=str(path))
    labels = None
    if case.label is not None:
        labels = checked_labels(read_label_map(case.label), case, table)
        require_same_grid(labels, images[0], name=str(case.label))
    prepared = prepare(images, preprocessing, labels=labels)
    origins = None
    if case.origins is not None:
        origins_map = read_label_map(case.origins)
        require_same_grid(origins_map, images[0], name=str(case.origins))
        origins = _on_grid(origins_map, prepared.preparation)
    return prepared, origins


def checked_labels(labels: Volume, case: TrainingCase, table: LabelTable) -> Volume:
    """Check the labels and mark voxels without statement as the store does."""
    if max(table.ids) >= IGNORED:
        raise TrainingDataError(
            f"{table.name}: label ids must be below {IGNORED}, found {max(table.ids)}; renumber "
            "the labels"
        )
    if case.ignore_label is None:
        table.check(labels.array, source=str(case.label))
        return labels
    ignored = labels.array == case.ignore_label
    table.check(np.where(ignored, 0, labels.array), source=str(case.label))
    return labels.with_array(np.where(ignored, IGNORED, labels.array).astype(np.uint8))


def _on_grid(origins: Volume, preparation: Preparation) -> NDArray[Any]:
    """Bring the provenance to the network's grid, each voxel the nearest one's."""
    cropped = preparation.box.extract(preparation.order.apply(origins.array))
    return resample_labels(np.ascontiguousarray(cropped), preparation.shape)
