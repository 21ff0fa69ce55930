"""The tables of means and medians, one row a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flare_metrics.report.markup import Html, element
from flare_metrics.report.tabulation import head_row, rounded, scrolled_table

__all__ = ["summary_section"]

_SCORES = {"dsc": "DSC", "nsd": "NSD"}
_DISTANCES = {"hd95_mm": "HD95 mm", "assd_mm": "ASSD mm"}


class _Cell(NamedTuple):
    head: str
    text: str
    below: str = ""


def summary_section(summary: Mapping[str, Any]) -> Html:
    """Return the section with all labels of `summarize`, lesions of diseased cases apart."""
    labels = summary["labels"]
    scores = [_row(name, _score_cells(row)) for name, row in _rows(labels)]
    distances = [
        _row(row["name"], _distance_cells(row))
        for row in labels.values()
        if any(metric in row for metric in _DISTANCES)
    ]
    return element(
        "section",
        element("h2", "Labels"),
        element(
            "p",
            "Mean, below it the 95 % interval of a bootstrap over cases, and median. Missed: in "
            "the reference only. Wrongly predicted: in the prediction only.",
        ),
        _table("DSC and NSD by label", scores),
        _organs(summary["organs"]),
        *_distance_parts(distances),
        id="labels",
    )


def _rows(labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the labels, and behind each lesion its diseased cases."""
    for row in labels.values():
        yield row["name"], dict(row)
        if "diseased" in row:
            part = dict(row["diseased"])
            part |= {"scored": part["cases"], "missed": row["missed"]}
            yield f"{row['name']}, diseased cases only", part


def _distance_parts(rows: Sequence[Html]) -> list[Html]:
    if not rows:
        return []
    return [
        element(
            "p",
            "Distances are infinite where a label is missed or wrongly predicted: the mean is of "
            "the others, the median takes infinity as a value.",
        ),
        _table("Distances by label", rows),
    ]


def _table(caption: str, rows: Sequence[Html]) -> Html:
    heads = _HEADS[caption]
    return scrolled_table(caption, head_row(["Label", *heads]), rows, kind="stacked summary")


_HEADS = {
    "DSC and NSD by label": (
        "n", "DSC mean", "DSC median", "NSD mean", "NSD median",
        "Missed", "Wrongly predicted", "Not scored",
    ),
    "Distances by label": (
        "n", "HD95 mm mean", "HD95 mm median", "ASSD mm mean", "ASSD mm median", "Infinite",
    ),
}  # fmt: skip


def _score_cells(row: Mapping[str, Any]) -> list[_Cell]:
    cells = [_count("n", row, "scored")]
    for metric, name in _SCORES.items():
        cells += _metric_cells(row.get(metric, {}), name, digits=4)
    return [
        *cells,
        _count("Missed", row, "missed"),
        _count("Wrongly predicted", row, "wrongly_predicted"),
        _count("Not scored", row, "not_scored"),
    ]


def _distance_cells(row: Mapping[str, Any]) -> list[_Cell]:
    cells = [_count("n", row, "scored")]
    for metric, name in _DISTANCES.items():
        cells += _metric_cells(row.get(metric, {}), name, digits=2)
    return [*cells, _count("Infinite", row.get("hd95_mm", {}), "infinite")]


def _metric_cells(statistics: Mapping[str, Any], name: str, *, digits: int) -> list[_Cell]:
    mean, interval = statistics.get("mean"), statistics.get("ci95")
    if statistics.get("infinite"):
        mean, interval = statistics["finite_mean"], statistics["finite_ci95"]
    below = ""
    if interval is not None:
        below = f"{rounded(interval[0], digits)} to {rounded(interval[1], digits)}"
    return [
        _Cell(f"{name} mean", rounded(mean, digits), below),
        _Cell(f"{name} median", rounded(statistics.get("median"), digits)),
    ]


def _count(head: str, row: Mapping[str, Any], key: str) -> _Cell:
    return _Cell(head, str(row.get(key, "")))


def _row(name: str, cells: Sequence[_Cell]) -> Html:
    return element(
        "tr",
        element("th", name, scope="row"),
        *(
            element(
                "td",
                cell.text,
                element("small", cell.below) if cell.below else None,
                data_column=cell.head,
                data_value=cell.text if cell.below else None,
            )
            for cell in cells
        ),
    )


def _organs(organs: Mapping[str, Any]) -> Html | None:
    if all(organs[metric]["mean_of_label_means"] is None for metric in _SCORES):
        return None
    words = "; ".join(_organ_words(organs, metric) for metric in _SCORES)
    return element("p", f"Organs together: {words}.")


def _organ_words(organs: Mapping[str, Any], metric: str) -> str:
    row = organs[metric]
    mean = rounded(row["mean_of_label_means"]) or "none"
    interval = row["mean_of_label_means_ci95"]
    words = f"mean of the labels' mean {_SCORES[metric]} {mean}"
    if interval is not None:
        words += f" (95 % interval {rounded(interval[0])} to {rounded(interval[1])})"
    return f"{words}, median over cases {rounded(row['median_of_case_means']) or 'none'}"
