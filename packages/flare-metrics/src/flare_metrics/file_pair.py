"""One case from its two files: read, compared, cast, scored, and every fault made a row."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from flare_metrics.case import refuse_other_labels, score_case, score_missing
from flare_metrics.case_result import CaseResult, Status
from flare_metrics.command import error_record
from flare_metrics.errors import GridError, LabelError, UnreadableFileError
from flare_metrics.files import LabelMap, read_label_map
from flare_metrics.grid import describe_difference
from flare_metrics.official import score_unlike_shapes, stopped
from flare_metrics.pairs import Pair, looked_at
from flare_metrics.protocols import Protocol
from flare_metrics.resample import resampled
from flare_metrics.scores import CaseScore

__all__ = ["Options", "failed_row", "score_pair", "score_pair_or_row"]

_FAULTS_OF_DATA = (UnreadableFileError, GridError, LabelError, ImportError)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How pairs are scored.

    Parameters
    ----------
    protocol : Protocol
    distances : bool
        Compute HD95 and ASSD too.
    resample : bool
        Bring a prediction on another grid onto the reference's.
    """

    protocol: Protocol
    distances: bool = False
    resample: bool = False

    def __post_init__(self) -> None:
        if self.resample and self.protocol.geometry != "compare":
            raise ValueError(
                f"resample must be off under protocol {self.protocol.name}, "
                "which never compares grids; set geometry=compare"
            )


def score_pair(prediction: Path, reference: Path, options: Options) -> tuple[CaseScore, str]:
    """Score one pair of files; also return what was done to the prediction, mostly nothing.

    Raises
    ------
    UnreadableFileError, GridError, LabelError
        If a file is damaged, the grids differ, or values are not the protocol's labels.
    """
    # Decompression releases the interpreter's lock, so two files take the time of one.
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_read, prediction, options.protocol)
        true = _read_reference(reference, options.protocol)
        return _score(prediction, future.result(), true, options)


def score_pair_or_row(pair: Pair, options: Options) -> CaseResult:
    """Score one case of two folders; whatever is wrong with it is in the result."""
    row = failed_row(pair)
    if not pair.references:
        error = GridError(
            pair.predictions[0], "no reference of this name", remedy=pair.hint, kind="no-reference"
        )
        return replace(row, status="no reference", error=error.record())
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_read_prediction, pair, options.protocol)
        try:
            true = _read_reference(_only(pair.references, options.protocol), options.protocol)
        except Exception as error:
            return replace(row, error=error_record(error))
        status: Status = "scored"
        fault, note = None, ""
        try:
            score, note = _score(Path(row.prediction), future.result(), true, options)
            reason = stopped(score)
            if reason:
                status, score = "script stops", _without_scores(score, reason)
                fault = {"kind": "script-stops", "source": row.prediction, "rule": reason}
        except _FAULTS_OF_DATA as error:
            status = "prediction refused" if pair.predictions else "no prediction"
            fault = error_record(error)
            score = score_missing(
                true.array,
                spacing_mm=true.grid.spacing_mm,
                protocol=options.protocol,
                reason=str(error),
                distances=options.distances,
            )
        except Exception as error:
            return replace(row, error=error_record(error))
    return replace(row, status=status, score=score, error=fault, note=note)


def failed_row(pair: Pair, error: dict[str, str] | None = None) -> CaseResult:
    """Return the row of a case of which nothing but its files is known."""
    return CaseResult(
        case=pair.case,
        status="failed",
        error=error,
        file=pair.references[0].name if pair.references else "",
        prediction=str(pair.predictions[0]) if pair.predictions else "",
        reference=str(pair.references[0]) if pair.references else "",
    )


def _read(path: Path, rules: Protocol) -> LabelMap:
    return read_label_map(path, cast=rules.cast, zooms_only=rules.geometry != "compare")


def _read_prediction(pair: Pair, rules: Protocol) -> LabelMap:
    if not pair.predictions:
        raise UnreadableFileError(
            pair.references[0].name, "no prediction of this name", remedy=pair.hint, kind="missing"
        )
    return _read(_only(pair.predictions, rules), rules)


def _read_reference(path: Path, rules: Protocol) -> LabelMap:
    reference = _read(path, rules)
    try:
        refuse_other_labels(reference.array, "reference", rules)
    except ValueError as error:
        raise LabelError(path, str(error), kind="other-labels") from error
    return reference


def _only(paths: tuple[Path, ...], rules: Protocol) -> Path:
    if not looked_at(paths[0], rules):
        raise UnreadableFileError(
            paths[0], f"protocol {rules.name} looks at .nii.gz files only", kind="format"
        )
    if len(paths) > 1:
        raise UnreadableFileError(
            paths[0],
            "a case must have one file",
            found=", ".join(path.name for path in paths),
            remedy="remove the others",
            kind="duplicate",
        )
    return paths[0]


def _score(
    path: Path, prediction: LabelMap, reference: LabelMap, options: Options
) -> tuple[CaseScore, str]:
    rules, note = options.protocol, ""
    unlike = prediction.grid.shape != reference.grid.shape
    if rules.geometry == "compare":
        prediction, note = _on_one_grid(path, prediction, reference, options)
    elif unlike and rules.geometry == "shape":
        raise GridError(
            path,
            "prediction and reference must have one shape",
            found=describe_difference(prediction.grid, reference.grid) or "",
            remedy="the official script stops here",
            kind="shape",
        )
    if rules.z_axis == "patient":
        prediction, reference = prediction.with_z_first(), reference.with_z_first()
    spacing = reference.grid.spacing_mm
    try:
        if unlike and rules.geometry == "none":
            score = score_unlike_shapes(
                prediction.array, reference.array, spacing_mm=spacing, protocol=rules
            )
        else:
            score = score_case(
                prediction.array,
                reference.array,
                spacing_mm=spacing,
                protocol=rules,
                distances=options.distances,
            )
    except ValueError as error:
        raise LabelError(path, str(error), kind="other-labels") from error
    return score, note


def _on_one_grid(
    path: Path, prediction: LabelMap, reference: LabelMap, options: Options
) -> tuple[LabelMap, str]:
    difference = describe_difference(prediction.grid, reference.grid)
    if difference is None:
        return prediction, ""
    if not options.resample:
        raise GridError(
            path,
            "prediction must lie on the reference's grid",
            found=difference,
            remedy="resample it to the reference first, or ask for --resample",
            kind="grid",
        )
    note = f"prediction resampled onto the reference's grid by nearest neighbor: {difference}"
    return resampled(prediction, reference.grid), note


def _without_scores(score: CaseScore, reason: str) -> CaseScore:
    """Empty the row: a script that stops has written nothing of the case."""
    labels = tuple(
        replace(label, dsc=math.nan, nsd=math.nan, reason=reason, detection=None)
        for label in score.labels
    )
    return CaseScore(score.protocol, labels)
