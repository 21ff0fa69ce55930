"""A folder of predictions against a folder of references, case by case.

Cases are matched by file name without suffix. Every reference ends in the result, whatever
happens to it: a missing or unreadable prediction is a row, not a gap, and one bad case never
costs another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flare_metrics._progress import shown
from flare_metrics.case import refuse_other_labels, score_case, score_missing
from flare_metrics.command import error_record
from flare_metrics.errors import GridError, LabelError, UnreadableFileError
from flare_metrics.files import LabelMap, case_name, read_label_map
from flare_metrics.grid import describe_difference
from flare_metrics.protocols import Protocol, protocol
from flare_metrics.scores import CaseScore

__all__ = ["CaseResult", "FolderScore", "score_files", "score_folder"]

Status = Literal["scored", "no prediction", "prediction refused", "failed", "no reference"]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What became of one case.

    Parameters
    ----------
    case : str
        Name of the files without suffix.
    status : str
        ``"scored"``; ``"no prediction"`` and ``"prediction refused"`` carry the scores that the
        protocol gives them; ``"failed"`` (the reference, or the machine) and ``"no reference"``
        carry none.
    score : CaseScore or None
    error : dict or None
        The fault as a record with ``kind``, ``source``, ``rule``, ``found``, ``remedy``.
    file : str
        Name of the reference file.
    """

    case: str
    status: Status
    score: CaseScore | None = None
    error: dict[str, Any] | None = None
    file: str = ""

    @property
    def reason(self) -> str:
        """The fault on one line, empty where there is none."""
        if self.error is None:
            return ""
        found, remedy = self.error.get("found"), self.error.get("remedy")
        text = f"{self.error['rule']}" + (f", found {found}" if found else "")
        return text + (f"; {remedy}" if remedy else "")


@dataclass(frozen=True, kw_only=True)
class FolderScore:
    """All cases of a folder, sorted by name."""

    protocol: Protocol
    cases: tuple[CaseResult, ...]

    def __getitem__(self, case: str) -> CaseResult:
        for result in self.cases:
            if result.case == case:
                return result
        raise KeyError(f"no case {case!r}")

    @property
    def faulty(self) -> tuple[CaseResult, ...]:
        """The cases that are anything but scored."""
        return tuple(result for result in self.cases if result.status != "scored")

    def summary(self) -> dict[str, Any]:
        """Return means, medians and counts as a JSON-ready dict; see `flare_metrics.summary`."""
        from flare_metrics.summary import summarize

        return summarize(self)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``cases.csv``, ``labels.csv`` and ``summary.json``, each whole or not at all."""
        from flare_metrics.summary import write_results

        write_results(self, Path(folder))


def score_files(
    prediction: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    *,
    protocol: str | Protocol = "sound",
) -> CaseScore:
    """Score one pair of files.

    Parameters
    ----------
    prediction, reference : path
        Label maps on the same grid.
    protocol : str or Protocol

    Returns
    -------
    CaseScore

    Raises
    ------
    UnreadableFileError, GridError, LabelError
        If a file is damaged, the grids differ (how far, in mm), or values are not the protocol's
        labels.
    """
    rules = _resolved(protocol)
    return _score_pair(Path(prediction), _read_reference(Path(reference), rules), rules)


def score_folder(
    predictions: str | os.PathLike[str],
    references: str | os.PathLike[str],
    *,
    protocol: str | Protocol = "sound",
    jobs: int = 1,
    progress: bool = False,
) -> FolderScore:
    """Score every reference of a folder against the prediction of the same name.

    Parameters
    ----------
    predictions, references : path
        Folders of label maps; other files in them are ignored.
    protocol : str or Protocol
    jobs : int
        Cases scored at the same time, each in a process of its own.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    FolderScore
        Predictions without reference are listed too, without scores.

    Raises
    ------
    ValueError
        If ``jobs`` is not positive.
    UnreadableFileError
        If a folder does not exist, or holds no label map.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be > 0, got {jobs}")
    rules = _resolved(protocol)
    found = _label_maps(Path(references), "references")
    offered = _label_maps(Path(predictions), "predictions", may_be_empty=True)
    tasks = [(case, offered.get(case, []), files, rules) for case, files in sorted(found.items())]
    results = list(shown(_run(tasks, jobs), total=len(tasks), active=progress))
    for case in sorted(set(offered) - set(found)):
        error = GridError(offered[case][0], "no reference of this name", kind="no-reference")
        results.append(CaseResult(case=case, status="no reference", error=error.record(), file=""))
    return FolderScore(protocol=rules, cases=tuple(results))


_Task = tuple[str, list[Path], list[Path], Protocol]


def _resolved(value: str | Protocol) -> Protocol:
    return value if isinstance(value, Protocol) else protocol(value)


def _label_maps(folder: Path, role: str, *, may_be_empty: bool = False) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise UnreadableFileError(folder, f"{role} must be a folder", kind="unreadable")
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        case = case_name(path)
        if case is not None and path.is_file():
            files.setdefault(case, []).append(path)
    if not files and not may_be_empty:
        raise UnreadableFileError(
            folder, f"{role} must hold label maps", found="none", kind="empty"
        )
    return files


def _run(tasks: Sequence[_Task], jobs: int) -> Iterator[CaseResult]:
    if jobs == 1 or len(tasks) < 2:
        yield from map(_score_task, tasks)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # Not fork: the caller may hold threads and locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context) as pool:
        futures = [pool.submit(_score_task, task) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                # A worker died, and the pool with it; the others' cases are not to blame, so
                # each gets its own.
                yield _score_apart(task)


def _score_apart(task: _Task) -> CaseResult:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_score_task, task).result()
        except BrokenProcessPool:
            record = {
                "kind": "resources",
                "source": task[0],
                "rule": "the worker died, perhaps for lack of memory",
            }
            return CaseResult(case=task[0], status="failed", error=record, file=task[2][0].name)


def _score_task(task: _Task) -> CaseResult:
    case, predictions, references, rules = task
    name = references[0].name
    try:
        reference = _read_reference(_only(references), rules)
    except Exception as error:
        return CaseResult(case=case, status="failed", error=error_record(error), file=name)
    try:
        if not predictions:
            raise UnreadableFileError(name, "no prediction of this name", kind="missing")
        score = _score_pair(_only(predictions), reference, rules)
    except (UnreadableFileError, GridError, LabelError, ImportError) as error:
        score = score_missing(
            reference.array, spacing_mm=reference.grid.spacing_mm, protocol=rules, reason=str(error)
        )
        status: Status = "prediction refused" if predictions else "no prediction"
        return CaseResult(
            case=case, status=status, score=score, error=error_record(error), file=name
        )
    except Exception as error:
        return CaseResult(case=case, status="failed", error=error_record(error), file=name)
    return CaseResult(case=case, status="scored", score=score, file=name)


def _only(paths: list[Path]) -> Path:
    if len(paths) > 1:
        raise UnreadableFileError(
            paths[0],
            "a case must have one file",
            found=", ".join(path.name for path in paths),
            remedy="remove the others",
            kind="duplicate",
        )
    return paths[0]


def _read_reference(path: Path, rules: Protocol) -> LabelMap:
    reference = read_label_map(path)
    try:
        refuse_other_labels(reference.array, "reference", rules)
    except ValueError as error:
        raise LabelError(path, str(error), kind="other-labels") from error
    return reference


def _score_pair(prediction: Path, reference: LabelMap, rules: Protocol) -> CaseScore:
    found = read_label_map(prediction)
    difference = describe_difference(found.grid, reference.grid)
    if difference is not None:
        raise GridError(
            prediction,
            "prediction must lie on the reference's grid",
            found=difference,
            remedy="resample it to the reference first",
            kind="grid",
        )
    if rules.z_axis == "patient":
        found, reference = found.with_z_first(), reference.with_z_first()
    try:
        return score_case(
            found.array, reference.array, spacing_mm=reference.grid.spacing_mm, protocol=rules
        )
    except ValueError as error:
        raise LabelError(prediction, str(error), kind="other-labels") from error
