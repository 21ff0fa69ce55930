"""The tables that a scoring leaves behind.

``cases.csv`` has the columns of the official tables first, so that scripts for those read it too.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flare_metrics.scores import LabelScore

if TYPE_CHECKING:
    from flare_metrics.case_result import CaseResult
    from flare_metrics.folder import FolderScore

__all__ = [
    "COLUMN_ENDS",
    "case_table",
    "csv_text",
    "distances_computed",
    "label_table",
    "scores_txt",
]

COLUMN_ENDS = {
    "dsc": "DSC",
    "nsd": "NSD",
    "hd95_mm": "HD95_area_mm",
    "assd_mm": "ASSD_area_mm",
}
"""How the columns of a metric end; distances name their definition, weighted by area."""


def case_table(result: FolderScore) -> list[list[str]]:
    """Return ``cases.csv``: one row a case, then what became of it.

    Returns
    -------
    list of list of str
        ``Name``, a column for each metric and label, ``Status``, ``Reason``. A score that does
        not exist is empty, an infinite distance ``inf``; distances have columns where any was
        computed.
    """
    labels = result.protocol.labels
    metrics = ["dsc", "nsd", *distances_computed(result)]
    columns = [f"{label.column}_{COLUMN_ENDS[metric]}" for metric in metrics for label in labels]
    rows = [["Name", *columns, "Status", "Reason"]]
    for case in result.cases:
        scores = _by_label(case)
        cells = [
            _cell(getattr(scores[label.id], metric)) if label.id in scores else ""
            for metric in metrics
            for label in labels
        ]
        rows.append([case.file or case.case, *cells, case.status, case.reason or _unscored(case)])
    return rows


def label_table(result: FolderScore) -> list[list[str]]:
    """Return ``labels.csv``: one row a case and label, with what there is to see of it.

    Returns
    -------
    list of list of str
        Lesion counts have columns where lesions were matched, distances where any was computed.
    """
    distances = distances_computed(result)
    scores = [
        (case.file or case.case, score)
        for case in result.cases
        if case.score is not None
        for score in case.score.labels
    ]
    matched = any(score.detection is not None for _, score in scores)
    header = ["Name", "Label", "Structure", "Presence", "DSC", "NSD"]
    header += [COLUMN_ENDS[metric] for metric in distances]
    header += ["Lesions_TP", "Lesions_FP", "Lesions_FN"] if matched else []
    header += ["Prediction_ml", "Reference_ml", "Reason"]
    rows = [header]
    for name, score in scores:
        row = [name, str(score.id), score.name, score.presence]
        row += [_cell(getattr(score, metric)) for metric in ("dsc", "nsd", *distances)]
        row += _lesion_cells(score) if matched else []
        row += [f"{score.prediction_ml:.4f}", f"{score.reference_ml:.4f}", score.reason]
        rows.append(row)
    return rows


def scores_txt(summary: Mapping[str, Any]) -> str:
    """Return ``scores.txt`` as the FLARE 2023 scorer writes it.

    Parameters
    ----------
    summary : dict
        Of `flare_metrics.summary.summarize`.

    Returns
    -------
    str
        One line ``key: value`` with 4 decimals for the mean DSC, then NSD, of every label, then
        ``Organ_DSC`` and ``Organ_NSD``. A mean of nothing is ``nan``.
    """
    lines = [
        (f"{column}_{COLUMN_ENDS[metric]}", label[metric]["mean"])
        for metric in ("dsc", "nsd")
        for column, label in summary["labels"].items()
    ]
    lines += [
        (f"Organ_{COLUMN_ENDS[metric]}", summary["organs"][f"mean_{metric}"])
        for metric in ("dsc", "nsd")
    ]
    return "".join(f"{key}: {math.nan if value is None else value:.4f}\n" for key, value in lines)


def distances_computed(result: FolderScore) -> list[str]:
    """Return those of ``hd95_mm`` and ``assd_mm`` that any label of any case has."""
    return [
        metric
        for metric in ("hd95_mm", "assd_mm")
        if any(
            not math.isnan(getattr(score, metric))
            for case in result.cases
            if case.score is not None
            for score in case.score.labels
        )
    ]


def csv_text(rows: list[list[str]]) -> str:
    """Return rows as comma-separated values, quoted where need be, one line feed a row."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _by_label(case: CaseResult) -> dict[int, LabelScore]:
    return {score.id: score for score in case.score.labels} if case.score is not None else {}


def _unscored(case: CaseResult) -> str:
    """Name the labels that an official script would have stopped at."""
    reasons = {
        f"{score.name}: {score.reason}"
        for score in _by_label(case).values()
        if score.reason and score.presence != "neither"
    }
    return "; ".join(sorted(reasons))


def _lesion_cells(score: LabelScore) -> list[str]:
    if score.detection is None:
        return ["", "", ""]
    found = score.detection
    counts = found.true_positives, found.false_positives, found.false_negatives
    return [str(count) for count in counts]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
