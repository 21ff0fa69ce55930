"""Lesions one by one: found, missed, made up; diseased and healthy cases apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flare_metrics.report.markup import Html, element
from flare_metrics.report.tabulation import head_row, number_cell, rounded, scrolled_table

if TYPE_CHECKING:
    from flare_metrics.case_result import CaseResult
    from flare_metrics.folder import FolderScore
    from flare_metrics.protocols import Label
    from flare_metrics.scores import LabelScore

__all__ = ["lesions_section"]

_HEADS = (
    "Case", "Found", "Made up", "Missed", "F1", "PQ", "DSC", "Reference ml", "Prediction ml",
)  # fmt: skip


def lesions_section(result: FolderScore, summary: Mapping[str, Any]) -> Html | None:
    """Return the section of all labels of kind lesion; None if the protocol has none."""
    labels = [label for label in result.protocol.labels if label.kind == "lesion"]
    if not labels:
        return None
    parts = [part for label in labels for part in _label_parts(result, label, summary)]
    return element("section", element("h2", "Lesions"), *parts, id="lesions")


def _label_parts(result: FolderScore, label: Label, summary: Mapping[str, Any]) -> list[Html]:
    scores = [
        (case, case.score[label.id])
        for case in result.cases
        if case.score is not None and case.score[label.id].scored
    ]
    diseased = [(case, score) for case, score in scores if _in_reference(score)]
    row = summary["labels"][label.column]
    matched = any(score.detection is not None for _, score in scores)
    parts = [element("h3", label.name)]
    if matched:
        parts.append(_pooled(row["detection"]))
    else:
        parts.append(element("p", "Lesions were not matched one by one under this protocol."))
    if matched and diseased:
        parts.append(
            scrolled_table(
                f"Diseased cases: {label.name} in the reference",
                head_row(_HEADS),
                [_case_row(case, score) for case, score in diseased],
                kind="stacked",
                shown=True,
            )
        )
    elif not diseased:
        parts.append(element("p", f"No case has {label.name} in its reference."))
    parts += _healthy(result, label, row["healthy"])
    return parts


def _in_reference(score: LabelScore) -> bool:
    return score.presence in ("both", "reference only")


def _pooled(pooled: Mapping[str, Any]) -> Html:
    ratios = ", ".join(
        f"{name} {rounded(pooled[key], 3) or 'none'}"
        for name, key in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("F1", "f1"),
            ("panoptic quality (PQ)", "panoptic_quality"),
        )
    )
    words = (
        f"All cases together: {pooled['true_positives']} lesions found, "
        f"{pooled['false_positives']} made up, {pooled['false_negatives']} missed; {ratios}."
    )
    if pooled["cases_not_matched"]:
        words += f" In {pooled['cases_not_matched']} cases nothing could be matched."
    return element("p", words)


def _case_row(case: CaseResult, score: LabelScore) -> Html:
    found = score.detection
    counts: list[int | str] = ["", "", ""]
    ratios: list[float | None] = [None, None]
    if found is not None:
        counts = [found.true_positives, found.false_positives, found.false_negatives]
        ratios = [found.f1, found.panoptic_quality]
    cells = [
        element("td", count, data_column=head)
        for count, head in zip(counts, _HEADS[1:4], strict=True)
    ]
    cells += [
        number_cell(value, digits=3, column=head)
        for value, head in zip((*ratios, score.dsc), _HEADS[4:7], strict=True)
    ]
    cells += [
        number_cell(value, digits=2, column=head)
        for value, head in zip((score.reference_ml, score.prediction_ml), _HEADS[7:], strict=True)
    ]
    return element("tr", element("th", element("bdi", case.case), scope="row"), *cells)


def _healthy(result: FolderScore, label: Label, healthy: Mapping[str, Any]) -> list[Html]:
    """Return what was made up in cases without a lesion."""
    number, wrong = healthy["cases"], healthy["wrongly_predicted"]
    if not number:
        return [element("p", f"No healthy case: every reference has {label.name}.")]
    parts = [
        element(
            "p",
            f"Healthy cases: {number}. {number - wrong} stayed empty, in {wrong} a {label.name} "
            "was made up.",
        )
    ]
    heads = ("Case", "Made up", "Prediction ml")
    rows = []
    for case in result.cases:
        score = case.score[label.id] if case.score is not None else None
        if score is None or score.presence != "prediction only" or case.status != "scored":
            continue
        made_up = score.detection.false_positives if score.detection is not None else ""
        rows.append(
            element(
                "tr",
                element("th", element("bdi", case.case), scope="row"),
                element("td", made_up, data_column=heads[1]),
                number_cell(score.prediction_ml, digits=2, column=heads[2]),
            )
        )
    if rows:
        caption = f"Healthy cases with a made-up {label.name}"
        parts.append(scrolled_table(caption, head_row(heads), rows, kind="stacked", shown=True))
    return parts
