"""What a folder scored, in numbers: means, medians, their intervals, lesions found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.atomic import write_json, write_text
from flare_metrics.bootstrap import mean_of_means_interval
from flare_metrics.case_statistics import (
    Column,
    column_statistics,
    json_interval,
    mean_or_none,
)
from flare_metrics.lesions import case_recalls, diseased, healthy_summary, pooled_detection
from flare_metrics.protocols import Label, Protocol
from flare_metrics.scores import LabelScore
from flare_metrics.tables import case_table, csv_text, distances_computed, label_table, scores_txt

if TYPE_CHECKING:
    from flare_metrics.folder import FolderScore

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
        ``protocol`` and its ``settings``; ``definitions``; ``cases`` (counts by status);
        ``faulty`` (case, status, reason); ``labels``: for each label how many cases scored,
        missed, wrongly predicted, and statistics of DSC and NSD, of HD95 and ASSD where any was
        computed, for lesions those of diseased cases and ``detection`` pooled over cases;
        ``organs``: ``mean_dsc`` and ``mean_nsd``, the official mean over labels of those means,
        and for both metrics that mean and the mean over cases of the mean organ of a case, each
        with its interval.

    Notes
    -----
    Statistics of a metric are ``n``, ``mean``, ``median``, and their intervals ``ci95`` and
    ``median_ci95`` (see `flare_metrics.bootstrap` and `flare_metrics.median`). What does not
    exist is None. Distances may be infinite, which is counted in ``infinite``: then ``mean`` and
    ``ci95`` are None, ``finite_mean`` and ``finite_ci95`` are those of the others, and the median
    takes infinity as a value, written ``"Infinity"``. A protocol that rounds rounds means;
    medians, intervals and distances never are. 28 columns of 4000 cases take 0.9 s.
    """
    rules = result.protocol
    columns = _columns(result)
    statistics = column_statistics(columns)
    statuses = [case.status for case in result.cases]
    labels = {label.column: _label_summary(label, result, statistics) for label in rules.labels}
    return {
        "protocol": rules.name,
        "settings": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in rules.settings.items()
        },
        "definitions": _definitions(result),
        "cases": {status: statuses.count(status) for status in dict.fromkeys(statuses)},
        "faulty": [
            {"case": case.case, "status": case.status, "reason": case.reason}
            for case in result.faulty
        ],
        "organs": _organ_summary(labels, columns, statistics, rules),
        "labels": labels,
    }


def write_results(result: FolderScore, folder: Path) -> None:
    """Write ``cases.csv``, ``labels.csv`` and ``summary.json`` into a folder, made if need be.

    Protocol ``flare23`` gets its ``scores.txt`` too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarize(result)
    write_text(folder / "cases.csv", csv_text(case_table(result)))
    write_text(folder / "labels.csv", csv_text(label_table(result)))
    write_json(folder / "summary.json", summary)
    if result.protocol.name == "flare23":
        write_text(folder / "scores.txt", scores_txt(summary))


def _definitions(result: FolderScore) -> dict[str, str]:
    known = {
        "hd95_mm": "95th percentile of the surface distances, weighted by area, larger direction",
        "assd_mm": "average symmetric surface distance, weighted by area",
    }
    return {
        "dsc": "Dice similarity coefficient",
        "nsd": f"surface Dice weighted by area (Nikolov 2018), ties {result.protocol.tie}",
        **{metric: known[metric] for metric in distances_computed(result)},
    }


def _columns(result: FolderScore) -> dict[str, Column]:
    """Return every quantity over cases, NaN where a case has none."""
    rules = result.protocol
    distances = distances_computed(result)
    columns: dict[str, Column] = {}
    for label in rules.labels:
        scores = _scores(label, result)
        for metric in (*_METRICS, *distances):
            columns[f"{metric} {label.id}"] = Column(
                _values(scores, metric),
                decimals=None if metric in distances else rules.decimals,
                is_distance=metric in distances,
            )
        if label.kind == "lesion":
            for metric in _METRICS:
                values = np.where(
                    diseased(scores), columns[f"{metric} {label.id}"].values, math.nan
                )
                columns[f"{metric} {label.id} diseased"] = Column(values, decimals=rules.decimals)
            columns[f"recall {label.id}"] = Column(case_recalls(scores))
    for metric in _METRICS:
        means = [
            getattr(case.score, f"mean_{metric}")("organ") if case.score is not None else math.nan
            for case in result.cases
        ]
        columns[f"{metric} organs"] = Column(np.array(means, float))
    return columns


def _values(scores: Sequence[LabelScore | None], metric: str) -> NDArray[np.float64]:
    return np.array(
        [
            getattr(score, metric) if score is not None and score.scored else math.nan
            for score in scores
        ],
        float,
    )


def _scores(label: Label, result: FolderScore) -> list[LabelScore | None]:
    """Return the scores of a label, None for a case without any."""
    return [case.score[label.id] if case.score is not None else None for case in result.cases]


def _label_summary(
    label: Label, result: FolderScore, statistics: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    all_scores = _scores(label, result)
    scores = [score for score in all_scores if score is not None and score.scored]
    metrics = [*_METRICS, *distances_computed(result)]
    summary: dict[str, Any] = {
        "id": label.id,
        "name": label.name,
        "kind": label.kind,
        "tolerance_mm": label.tolerance_mm,
        "scored": len(scores),
        "not_scored": len(result.cases) - len(scores),
        "missed": _count(scores, "reference only"),
        "wrongly_predicted": _count(scores, "prediction only"),
        **{metric: statistics[f"{metric} {label.id}"] for metric in metrics},
    }
    if label.kind == "lesion":
        summary["diseased"] = {
            "cases": int(diseased(scores).sum()),
            **{metric: statistics[f"{metric} {label.id} diseased"] for metric in _METRICS},
        }
        summary["healthy"] = healthy_summary(all_scores, [case.status for case in result.cases])
        if any(score.detection is not None for score in scores):
            recall = statistics[f"recall {label.id}"]
            summary["detection"] = pooled_detection(scores, case_recall=recall)
    return summary


def _organ_summary(
    labels: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, Column],
    statistics: Mapping[str, Mapping[str, Any]],
    rules: Protocol,
) -> dict[str, Any]:
    organs = [label for label in rules.labels if label.kind == "organ"]
    summary: dict[str, Any] = {}
    for metric in _METRICS:
        means = [labels[label.column][metric]["mean"] for label in organs]
        known = np.array([mean for mean in means if mean is not None], float)
        summary[f"mean_{metric}"] = mean_or_none(known, decimals=rules.decimals)
    for metric in _METRICS:
        of_cases = statistics[f"{metric} organs"]
        table = [columns[f"{metric} {label.id}"].values for label in organs]
        interval = mean_of_means_interval(np.array(table).T) if organs else None
        summary[metric] = {
            "mean_of_label_means": summary[f"mean_{metric}"],
            "mean_of_label_means_ci95": json_interval(interval),
            "mean_of_case_means": of_cases["mean"],
            "mean_of_case_means_ci95": of_cases["ci95"],
            "median_of_case_means": of_cases["median"],
            "n": of_cases["n"],
        }
    return summary


def _count(scores: Sequence[LabelScore], presence: str) -> int:
    return sum(score.presence == presence for score in scores)
