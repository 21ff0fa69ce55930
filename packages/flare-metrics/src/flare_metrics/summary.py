"""Means over cases, and the files that a scoring leaves behind.

Lesions are summarized apart for diseased and healthy cases: in a healthy case the only question
is whether the prediction stayed empty.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flare_metrics.atomic import write_json, write_text
from flare_metrics.protocols import Label, Protocol
from flare_metrics.scores import LabelScore

if TYPE_CHECKING:
    from flare_metrics.folder import CaseResult, FolderScore

__all__ = ["summarize", "write_results"]

_METRICS = ("dsc", "nsd")


def summarize(result: FolderScore) -> dict[str, Any]:
    """Return the summary of a folder as a JSON-ready dict.

    Parameters
    ----------
    result : FolderScore

    Returns
    -------
    dict
        ``protocol``; ``cases`` (counts by status); ``faulty`` (case, status, reason);
        ``labels``: for each label how many cases scored, missed, wrongly predicted, and mean and
        median of DSC and NSD; ``organs``: mean over organ labels of those means. A mean of
        nothing is None.
    """
    rules = result.protocol
    statuses = [case.status for case in result.cases]
    labels = {label.column: _label_summary(label, result) for label in rules.labels}
    organs = [labels[label.column] for label in rules.labels if label.kind == "organ"]
    return {
        "protocol": rules.name,
        "definitions": {
            "dsc": "Dice similarity coefficient",
            "nsd": f"surface Dice weighted by area (Nikolov 2018), ties {rules.tie}",
        },
        "cases": {status: statuses.count(status) for status in dict.fromkeys(statuses)},
        "faulty": [
            {"case": case.case, "status": case.status, "reason": case.reason}
            for case in result.faulty
        ],
        "organs": {
            f"mean_{metric}": _mean([organ[metric]["mean"] for organ in organs], rules)
            for metric in _METRICS
        },
        "labels": labels,
    }


def write_results(result: FolderScore, folder: Path) -> None:
    """Write ``cases.csv``, ``labels.csv`` and ``summary.json`` into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "cases.csv", _csv(_case_rows(result)))
    write_text(folder / "labels.csv", _csv(_label_rows(result)))
    write_json(folder / "summary.json", summarize(result))


def _label_summary(label: Label, result: FolderScore) -> dict[str, Any]:
    rules = result.protocol
    all_scores = [case.score[label.id] for case in result.cases if case.score is not None]
    scores = [score for score in all_scores if score.scored]
    summary: dict[str, Any] = {
        "id": label.id,
        "name": label.name,
        "kind": label.kind,
        "tolerance_mm": label.tolerance_mm,
        "scored": len(scores),
        "not_scored": len(result.cases) - len(scores),
        "missed": _count(scores, "reference only"),
        "wrongly_predicted": _count(scores, "prediction only"),
        **_statistics(scores, rules),
    }
    if label.kind == "lesion":
        diseased = [score for score in scores if score.presence in ("both", "reference only")]
        healthy = [
            case.score[label.id]
            for case in result.cases
            if case.score is not None
            and case.status == "scored"
            and case.score[label.id].presence in ("neither", "prediction only")
        ]
        summary["diseased"] = {"cases": len(diseased), **_statistics(diseased, rules)}
        summary["healthy"] = {
            "cases": len(healthy),
            "wrongly_predicted": _count(healthy, "prediction only"),
        }
    return summary


def _statistics(scores: Sequence[LabelScore], rules: Protocol) -> dict[str, Any]:
    return {
        metric: {
            "mean": _mean([getattr(score, metric) for score in scores], rules),
            "median": float(np.median([getattr(score, metric) for score in scores]))
            if scores
            else None,
        }
        for metric in _METRICS
    }


def _count(scores: Sequence[LabelScore], presence: str) -> int:
    return sum(score.presence == presence for score in scores)


def _mean(values: Sequence[float | None], rules: Protocol) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = float(np.mean(known))
    return mean if rules.decimals is None else float(np.round(mean, rules.decimals))


def _case_rows(result: FolderScore) -> list[list[str]]:
    """One row a case; official column names first, then what became of it."""
    labels = result.protocol.labels
    names = [f"{label.column}_{metric.upper()}" for metric in _METRICS for label in labels]
    rows = [["Name", *names, "Status", "Reason"]]
    for case in result.cases:
        cells = [
            _cell(getattr(case.score[label.id], metric)) if case.score is not None else ""
            for metric in _METRICS
            for label in labels
        ]
        rows.append(
            [case.file or case.case, *cells, case.status, case.reason or _unscored(case, result)]
        )
    return rows


def _unscored(case: CaseResult, result: FolderScore) -> str:
    """Name the labels that an official script would have stopped at."""
    if case.score is None:
        return ""
    reasons = {
        f"{score.name}: {score.reason}"
        for score in case.score.labels
        if score.reason and score.presence != "neither"
    }
    return "; ".join(sorted(reasons))


def _label_rows(result: FolderScore) -> list[list[str]]:
    """One row a case and label, with what there is to see of it."""
    header = ["Name", "Label", "Structure", "Presence", "DSC", "NSD"]
    header += ["Prediction_ml", "Reference_ml", "Reason"]
    rows = [
        _label_row(case.file or case.case, score)
        for case in result.cases
        if case.score is not None
        for score in case.score.labels
    ]
    return [header, *rows]


def _label_row(name: str, score: LabelScore) -> list[str]:
    volumes = [f"{score.prediction_ml:.4f}", f"{score.reference_ml:.4f}"]
    scores = [_cell(score.dsc), _cell(score.nsd)]
    return [name, str(score.id), score.name, score.presence, *scores, *volumes, score.reason]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _csv(rows: list[list[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
