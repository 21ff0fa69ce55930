"""From the files of cases to the preprocessed store that training reads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed

from flare_io.dataset import Dataset
from flare_io.labels import LabelTable
from flare_io.preparation import prepare
from flare_io.preprocessing import Preprocessing
from flare_train.errors import TrainingDataError
from flare_train.store import FORMAT, StoredCase, stored_key, write_stored_case

__all__ = ["TrainingCase", "build_store", "training_cases"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingCase:
    """Files of one case, and K, the label ids that its label map was searched for."""

    id: str
    image: tuple[Path, ...]
    label: Path
    annotated: frozenset[int]


def training_cases(
    dataset: Dataset,
    *,
    labels: os.PathLike[str] | str | None = None,
    completed: Iterable[int] | None = None,
) -> tuple[TrainingCase, ...]:
    """Return the cases of a dataset that have labels to learn from.

    Parameters
    ----------
    dataset : Dataset
        Only its training cases count.
    labels : path, optional
        Folder of label maps ``<case>.nii.gz`` that take the place of the dataset's own, such as
        fused ones.
    completed : iterable of int, optional
        Label ids that those label maps show in every case, whatever its own K; the case's K is
        added. None: all classes of the table.

    Raises
    ------
    TrainingDataError
        If no case has labels, or nobody states what a case annotates.
    """
    shown = frozenset(dataset.table.ids if completed is None else completed)
    cases = []
    for case in dataset.train:
        if labels is not None:
            path, annotated = Path(labels) / f"{case.id}.nii.gz", shown | (case.annotated or set())
            if not path.is_file():
                continue
        elif case.label is None:
            continue
        elif case.annotated is None:
            raise TrainingDataError(
                f"{case.label}: nobody states which classes this case annotates; add K to the "
                "'flare' part of dataset.json"
            )
        else:
            path, annotated = case.label, case.annotated
        cases.append(TrainingCase(id=case.id, image=case.image, label=path, annotated=annotated))
    if not cases:
        place = dataset.root if labels is None else labels
        raise TrainingDataError(f"{place}: holds no label map of any training case")
    return tuple(cases)


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
    labels = read_label_map(case.label, table=table)
    prepared = prepare(images, preprocessing, labels=labels)
    assert prepared.labels is not None
    stored = StoredCase.from_arrays(
        case.id,
        prepared.array,
        prepared.labels,
        spacing_mm=prepared.preparation.spacing_mm,
        annotated=case.annotated,
        key=key,
    )
    write_stored_case(root, stored)
    return case.id


def _key(case: TrainingCase, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256()
    settings = [FORMAT, preprocessing.to_dict(), sorted(case.annotated)]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for path in (*case.image, case.label):
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
