"""A figure for each case of a dataset by which to select: agreement or instability."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from flare_fusion._progress import shown
from flare_fusion.selection import agreement_of_pair, instability
from flare_fusion.sources import file_of_source, read_sources
from flare_io.command import error_record
from flare_io.dataset import Case, Dataset, read_dataset
from flare_io.errors import DatasetError

__all__ = ["CaseFigure", "case_scores"]

_TUMOR = 14


@dataclass(frozen=True, kw_only=True)
class CaseFigure:
    """The figure of one case, or why there is none."""

    case: str
    labeled: bool
    figure: float | None = None
    error: dict[str, Any] | None = None

    @property
    def status(self) -> str:
        """What to show as progress."""
        return "failed" if self.error else f"{self.figure}"


def case_scores(
    dataset: str | os.PathLike[str] | Dataset,
    *,
    by: Literal["agreement", "instability"],
    sources: Sequence[str] = ("A", "B"),
    folders: Mapping[str, str | os.PathLike[str]] | None = None,
    resample: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> tuple[CaseFigure, ...]:
    """Return a figure for every training case of a dataset.

    Parameters
    ----------
    dataset : path or Dataset
    by : {"agreement", "instability"}
        Mean organ DSC of two sources, or the change over rounds of one model.
    sources : sequence of str
        The two sources, or the rounds in their order.
    folders : mapping of str to path, optional
        Folders of label maps named after the cases, in place of or beside the manifest's
        pseudo-label sets.
    resample : bool
        Bring a source on another grid over instead of refusing it.
    jobs : int, optional
        Cases at the same time; None leaves it to ``joblib.parallel_config``.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    tuple of CaseFigure
        In the order of the dataset. A case that cannot be read has an error and costs no other.

    Raises
    ------
    DatasetError
        If the dataset cannot be read, has no cases, or a folder is missing.
    ValueError
        If the number of sources is wrong.
    """
    from joblib import Parallel, delayed

    least, most = (2, 2) if by == "agreement" else (2, 100)
    if not least <= len(sources) <= most or len(set(sources)) != len(sources):
        wanted = "two different sources" if by == "agreement" else "two or more rounds"
        raise ValueError(f"{by} needs {wanted}, got {', '.join(sources) or 'none'}")
    known = dataset if isinstance(dataset, Dataset) else read_dataset(dataset)
    if not known.train:
        raise DatasetError(known.root, "no training case to select from", kind="empty")
    paths = {name: Path(path) for name, path in (folders or {}).items()}
    for name, folder in paths.items():
        if not folder.is_dir():
            raise DatasetError(folder, f"source {name} must be a folder", kind="missing")
    organs = tuple(label for label in known.table.ids if label not in (0, _TUMOR))
    figure = _Agreement(organs) if by == "agreement" else instability
    work = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_figure)(case, tuple(sources), paths, figure, resample) for case in known.train
    )
    return tuple(shown(work, total=len(known.train), active=progress))


@dataclass(frozen=True)
class _Agreement:
    """The mean DSC of two arrays; a class and not a closure, so that processes can take it."""

    organs: tuple[int, ...]

    def __call__(self, arrays: Sequence[NDArray[Any]]) -> float | None:
        return agreement_of_pair(arrays[0], arrays[1], labels=self.organs)


def _figure(
    case: Case,
    sources: tuple[str, ...],
    folders: Mapping[str, Path],
    figure: Callable[[Sequence[NDArray[Any]]], float | None],
    resample: bool,
) -> CaseFigure:
    labeled = case.label is not None
    try:
        files = {name: file_of_source(name, case, folders) for name in sources}
        arrays = read_sources(case.image[0], files, resample=resample).arrays
        return CaseFigure(
            case=case.id, labeled=labeled, figure=figure([arrays[name] for name in sources])
        )
    except Exception as error:
        # One bad case costs one case; Ctrl-C and its kind pass through.
        return CaseFigure(case=case.id, labeled=labeled, error=error_record(error))
