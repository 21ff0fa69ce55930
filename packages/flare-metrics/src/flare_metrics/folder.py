"""A folder of predictions against a folder of references, case by case.

Cases are matched by file name. Every reference ends in the result, whatever happens to it: a
missing or unreadable prediction is a row, not a gap, and one bad case never costs another.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flare_metrics._progress import shown
from flare_metrics.case_result import CaseResult
from flare_metrics.file_pair import Options, failed_row, score_pair, score_pair_or_row
from flare_metrics.files import case_name
from flare_metrics.pairs import Pair, find_pairs
from flare_metrics.protocols import Protocol, protocol
from flare_metrics.scores import CaseScore
from flare_metrics.workers import score_pairs

__all__ = [
    "CaseResult",
    "FolderScore",
    "ScoringInterrupted",
    "refuse_input_folder",
    "score_files",
    "score_folder",
    "score_single",
]


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

    def write(
        self,
        folder: str | os.PathLike[str],
        *,
        report: bool = True,
        images: str | os.PathLike[str] | None = None,
        efficiency: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the tables, then the page; each file whole or not at all.

        Parameters
        ----------
        folder : path
            Gets ``cases.csv``, ``labels.csv``, ``summary.json`` and ``report.html``; made if need
            be. Refused where predictions or references lie.
        report : bool
            Whether to write ``report.html``.
        images : path, optional
            Folder of the scans, which the report shows behind the worst cases.
        efficiency : path, optional
            Table of `flare-metrics measure` for the report.

        Raises
        ------
        ValueError
            If the folder holds predictions or references.
        """
        folder = Path(folder)
        self._refuse_input_folder(folder)
        from flare_metrics.summary import write_results

        # An earlier page would not show these scores.
        (folder / "report.html").unlink(missing_ok=True)
        write_results(self, folder)
        if report:
            from flare_metrics.report import write_report

            write_report(
                folder / "report.html",
                self,
                images=None if images is None else Path(images),
                efficiency=None if efficiency is None else Path(efficiency),
            )

    def _refuse_input_folder(self, folder: Path) -> None:
        paths = {path for case in self.cases for path in (case.prediction, case.reference) if path}
        for parent in {Path(path).parent for path in paths}:
            refuse_input_folder(folder, parent)


class ScoringInterrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a folder.

    Attributes
    ----------
    result : FolderScore
        What was finished; the other cases are listed as failed.
    """

    def __init__(self, result: FolderScore) -> None:
        self.result = result
        done = sum(case.status == "scored" for case in result.cases)
        super().__init__(f"interrupted: {done} of {len(result.cases)} cases are scored")


def score_files(
    prediction: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    *,
    protocol: str | Protocol = "sound",
    distances: bool = False,
    resample: bool = False,
) -> CaseScore:
    """Score one pair of files.

    Parameters
    ----------
    prediction, reference : path
        Label maps on the same grid.
    protocol : str or Protocol
    distances : bool
        Compute HD95 and ASSD too.
    resample : bool
        Bring a prediction on another grid onto the reference's, by nearest neighbor.

    Returns
    -------
    CaseScore

    Raises
    ------
    UnreadableFileError, GridError, LabelError
        If a file is damaged, the grids differ (how far, in mm), or values are not the protocol's
        labels.
    ValueError
        If ``resample`` is asked of a protocol that does not compare grids.
    """
    options = Options(protocol=_resolved(protocol), distances=distances, resample=resample)
    return score_pair(Path(prediction), Path(reference), options)[0]


def score_folder(
    predictions: str | os.PathLike[str],
    references: str | os.PathLike[str],
    *,
    protocol: str | Protocol = "sound",
    jobs: int = 1,
    progress: bool = False,
    distances: bool = False,
    resample: bool = False,
) -> FolderScore:
    """Score every reference of a folder against the prediction of the same name.

    Parameters
    ----------
    predictions, references : path
        Folders of label maps; other files in them are ignored.
    protocol : str or Protocol
    jobs : int
        Cases scored at the same time, each in a process of its own, which may die without harm to
        the others. 1 means this process.
    progress : bool
        Show progress on stderr.
    distances : bool
        Compute HD95 and ASSD too.
    resample : bool
        Bring predictions on another grid onto the reference's, by nearest neighbor; the row says
        so.

    Returns
    -------
    FolderScore
        Predictions without reference are listed too, without scores.

    Raises
    ------
    ValueError
        If ``jobs`` is not positive, or ``resample`` is asked of a protocol that does not compare
        grids.
    UnreadableFileError
        If a folder does not exist, or there is no reference.
    ScoringInterrupted
        On Ctrl-C, with the finished cases in it.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be > 0, got {jobs}")
    rules = _resolved(protocol)
    options = Options(protocol=rules, distances=distances, resample=resample)
    pairs = find_pairs(Path(predictions), Path(references), rules)
    cases = [pair for pair in pairs if pair.references]
    results: dict[str, CaseResult] = {}
    try:
        running = score_pairs(cases, options, jobs=jobs)
        for result in shown(running, total=len(cases), active=progress):
            results[result.case] = result
    except KeyboardInterrupt as error:
        rest = [
            failed_row(
                pair, {"kind": "interrupted", "source": pair.case, "rule": "interrupted before"}
            )
            for pair in cases
            if pair.case not in results
        ]
        kept = (*results.values(), *rest)
        raise ScoringInterrupted(FolderScore(protocol=rules, cases=kept)) from error
    strangers = [score_pair_or_row(pair, options) for pair in pairs if not pair.references]
    return FolderScore(protocol=rules, cases=(*results.values(), *strangers))


def score_single(
    prediction: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    *,
    protocol: str | Protocol = "sound",
    distances: bool = False,
    resample: bool = False,
) -> FolderScore:
    """Score one pair of files as a folder of one case, whatever their names are.

    Parameters
    ----------
    prediction, reference : path
    protocol, distances, resample
        See `score_folder`.

    Returns
    -------
    FolderScore
        With one case, which is also there where the files cannot be scored.
    """
    rules = _resolved(protocol)
    options = Options(
        protocol=rules.with_options(match="case"), distances=distances, resample=resample
    )
    name = case_name(reference) or Path(reference).name
    pair = Pair(case=name, predictions=(Path(prediction),), references=(Path(reference),))
    return FolderScore(protocol=rules, cases=(score_pair_or_row(pair, options),))


def refuse_input_folder(output: Path, folder: Path) -> None:
    """Raise if tables would land among the files that are scored."""
    if output.exists() and folder.exists() and output.samefile(folder):
        raise ValueError(
            f"output must be a folder of its own, got {output}, which holds predictions or "
            "references"
        )


def _resolved(value: str | Protocol) -> Protocol:
    return value if isinstance(value, Protocol) else protocol(value)
