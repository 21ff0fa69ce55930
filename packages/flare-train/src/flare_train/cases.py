"""From the files of cases to the preprocessed store that training reads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from flare_io.dataset import Case, Dataset
from flare_io.labels import LabelTable
from flare_io.preparation import Preparation, prepare
from flare_io.preprocessing import Preprocessing
from flare_io.resample import resample_labels
from flare_io.volume import Volume, require_same_grid
from flare_train.errors import TrainingDataError
from flare_train.store import FORMAT, IGNORED, StoredCase, stored_key, write_stored_case

__all__ = ["TrainingCase", "build_store", "training_cases"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingCase:
    """Files of one case, and K, the label ids that its label map was searched for.

    Parameters
    ----------
    id : str
        Name of the case.
    image : tuple of Path
        One file per channel.
    label : Path or None
        Its label map; None for an unlabeled case.
    annotated : frozenset of int
        K; empty for an unlabeled case.
    origins : Path or None
        Where the label of each voxel came from, on the grid of the label map.
    ignore_label : int or None
        The id in the label map that marks voxels without statement.
    """

    id: str
    image: tuple[Path, ...]
    label: Path | None
    annotated: frozenset[int]
    origins: Path | None = None
    ignore_label: int | None = None


def training_cases(
    dataset: Dataset,
    *,
    labels: os.PathLike[str] | str | None = None,
    completed: Iterable[int] | None = None,
    origins: os.PathLike[str] | str | None = None,
    unlabeled: bool = False,
    only: Iterable[str] | None = None,
) -> tuple[TrainingCase, ...]:
    """Return the cases of a dataset that there is something to learn from.

    Parameters
    ----------
    dataset : Dataset
        Only its training cases count.
    labels : path, optional
        Folder of label maps ``<case>.nii.gz`` that take the place of the dataset's own, such as
        fused ones. A case without a file there has no labels.
    completed : iterable of int, optional
        Label ids that those label maps show in every case, whatever its own K; the case's K is
        added. None: all classes of the table.
    origins : path, optional
        Folder ``provenanceTr`` that flare-fusion wrote beside those label maps, one
        ``<case>.nii.gz`` for each of them.
    unlabeled : bool, optional
        Take the cases without labels too, with an empty K.
    only : iterable of str, optional
        Ids of the cases to take; None: all.

    Returns
    -------
    tuple of TrainingCase
        In the order of the dataset.

    Raises
    ------
    TrainingDataError
        If no case is left, nobody states what a case annotates, a case of `only` is not in the
        dataset or has no labels, or a provenance map is missing.
    """
    shown = frozenset(dataset.table.ids if completed is None else completed)
    wanted = None if only is None else _known(only, dataset)
    cases = []
    for case in dataset.train:
        if wanted is not None and case.id not in wanted:
            continue
        path, annotated = case.label, case.annotated
        if labels is not None:
            path, annotated = Path(labels) / f"{case.id}.nii.gz", shown | (annotated or frozenset())
        if path is None or not path.is_file():
            if unlabeled:
                cases.append(_unlabeled(case))
            elif wanted is not None:
                raise TrainingDataError(
                    f"{case.id}: this case was asked for and has no label map"
                    f"{f' {path}' if path else ''}; give it labels, take it from the list, or ask "
                    "for unlabeled cases too"
                )
            continue
        if annotated is None:
            raise TrainingDataError(
                f"{path}: nobody states which classes this case annotates; add K to the "
                "'flare' part of dataset.json"
            )
        cases.append(
            TrainingCase(
                id=case.id,
                image=case.image,
                label=path,
                annotated=annotated,
                origins=None if origins is None else _origins_of(case, Path(origins)),
                ignore_label=dataset.ignore_label,
            )
        )
    if not cases:
        place = dataset.root if labels is None else labels
        raise TrainingDataError(
            f"{place}: holds no label map of any training case; name the folder that holds "
            "<case>.nii.gz, or ask for unlabeled cases too"
        )
    return tuple(cases)


def _known(only: Iterable[str], dataset: Dataset) -> frozenset[str]:
    wanted = frozenset(only)
    known = {case.id for case in dataset.train}
    for id in sorted(wanted - known):
        near = get_close_matches(id, sorted(known), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise TrainingDataError(
            f"{id}: is no training case of {dataset.root}, which has {len(known)}"
            f"{hint or '; name cases of its training folder'}"
        )
    return wanted


def _unlabeled(case: Case) -> TrainingCase:
    return TrainingCase(id=case.id, image=case.image, label=None, annotated=frozenset())


def _origins_of(case: Case, folder: Path) -> Path:
    path = folder / f"{case.id}.nii.gz"
    if not path.is_file():
        raise TrainingDataError(
            f"{path}: the provenance map of this case is missing; fuse again with provenance, or "
            "train without origins"
        )
    return path


def build_store(
    cases: Sequence[TrainingCase],
    preprocessing: Preprocessing,
    folder: os.PathLike[str] | str,
    *,
    table: LabelTable,
    jobs: int = 1,
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
        Cases prepared at the same time.
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

    Notes
    -----
    Safe against a kill at any moment; the next call goes on. Every case is identified by the
    SHA-256 of its files, so an exchanged file is noticed.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_store_case)(case, preprocessing, root, table) for case in cases
    )
    for done, id in enumerate(work, 1):
        logger.debug("prepared %s", id)
        if progress is not None:
            progress(id, done, len(cases))
    return tuple(case.id for case in cases)


def _store_case(
    case: TrainingCase, preprocessing: Preprocessing, root: Path, table: LabelTable
) -> str:
    key = _key(case, preprocessing)
    if stored_key(root, case.id) == key:
        return case.id
    from flare_io.files import read_label_map, read_volume

    images = [read_volume(path) for path in case.image]
    labels = None
    if case.label is not None:
        labels = _marked(read_label_map(case.label), case, table)
    prepared = prepare(images, preprocessing, labels=labels)
    origins = None
    if case.origins is not None:
        origins = _on_grid(read_label_map(case.origins), images[0], prepared.preparation)
    stored = StoredCase.from_arrays(
        case.id,
        prepared.array,
        prepared.labels,
        spacing_mm=prepared.preparation.spacing_mm,
        annotated=case.annotated,
        origins=origins,
        key=key,
    )
    write_stored_case(root, stored)
    return case.id


def _marked(labels: Volume, case: TrainingCase, table: LabelTable) -> Volume:
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


def _on_grid(origins: Volume, image: Volume, preparation: Preparation) -> NDArray[Any]:
    """Bring the provenance to the network's grid, each voxel the nearest one's."""
    require_same_grid(origins, image, name="origins")
    cropped = preparation.box.extract(preparation.order.apply(origins.array))
    return resample_labels(np.ascontiguousarray(cropped), preparation.shape)


def _key(case: TrainingCase, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256()
    settings = [FORMAT, preprocessing.to_dict(), sorted(case.annotated), case.ignore_label]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for path in (*case.image, case.label, case.origins):
        if path is None:
            digest.update(b"none")
            continue
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
