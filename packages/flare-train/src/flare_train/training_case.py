"""Which cases of a dataset there is something to learn from, and what their label maps say."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from flare_io.dataset import Case, Dataset
from flare_train.errors import TrainingDataError

__all__ = ["TrainingCase", "training_cases"]


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
