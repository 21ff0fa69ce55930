"""The table of means and medians, one row a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flare_metrics.report.markup import Html, element
from flare_metrics.report.tabulation import head_row, rounded, scrolled_table

__all__ = ["summary_section"]

_METRICS = {"dsc": "DSC", "nsd": "NSD", "hd95_mm": "HD95 mm", "assd_mm": "ASSD mm"}

_Cell = tuple[object, Html | None]
"""What a cell shows, and what stands below it."""


def summary_section(summary: Mapping[str, Any]) -> Html:
    """Return the section with all labels of `summarize`, lesions of diseased cases apart."""
    labels = summary["labels"]
    metrics = [metric for metric in _METRICS if any(metric in row for row in labels.values())]
    heads = ["Label", "n"]
    for metric in metrics:
        heads += [f"{_METRICS[metric]} mean", f"{_METRICS[metric]} median"]
    heads += ["Missed", "Wrongly predicted", "Not scored"]
    rows = [_label_row(row, metrics, heads) for row in labels.values()]
    rows += [_diseased_row(row, metrics, heads) for row in labels.values() if "diseased" in row]
    organs = summary["organs"]
    return element(
        "section",
        element("h2", "Labels"),
        element(
            "p",
            "Mean with the 95 % interval of a bootstrap over cases below it, and median. Missed: "
            "in the reference only. Wrongly predicted: in the prediction only.",
        ),
        scrolled_table("Scores by label", head_row(heads), rows, kind="stacked summary"),
        element(
            "p",
            "Organs together: ",
            "; ".join(_organ_words(organs, metric) for metric in ("dsc", "nsd")),
            ".",
        ),
        id="labels",
    )


def _label_row(row: Mapping[str, Any], metrics: list[str], heads: list[str]) -> Html:
    cells: list[_Cell] = [(row["scored"], None)]
    for metric in metrics:
        cells += _metric_cells(row.get(metric, {}), metric)
    cells += [(row["missed"], None), (row["wrongly_predicted"], None), (row["not_scored"], None)]
    return _row(row["name"], cells, heads)


def _diseased_row(row: Mapping[str, Any], metrics: list[str], heads: list[str]) -> Html:
    part = row["diseased"]
    cells: list[_Cell] = [(part["cases"], None)]
    for metric in metrics:
        cells += _metric_cells(part.get(metric, {}), metric)
    cells += [(row["missed"], None), ("", None), ("", None)]
    return _row(f"{row['name']}, diseased cases only", cells, heads)


def _metric_cells(statistics: Mapping[str, Any], metric: str) -> list[_Cell]:
    digits = 4 if metric in ("dsc", "nsd") else 2
    mean, interval = statistics.get("mean"), statistics.get("ci95")
    infinite = statistics.get("infinite", 0)
    if infinite:
        # The mean of infinite values says nothing; that of the others must say what it is.
        mean, interval = statistics["finite_mean"], statistics["finite_ci95"]
    below = []
    if interval is not None:
        below.append(f"{rounded(interval[0], digits)} to {rounded(interval[1], digits)}")
    if infinite:
        below.append(f"without {infinite} infinite")
    extra = element("small", ", ".join(below)) if below else None
    return [(rounded(mean, digits), extra), (rounded(statistics.get("median"), digits), None)]


def _row(name: str, cells: list[_Cell], heads: list[str]) -> Html:
    return element(
        "tr",
        element("th", name, scope="row"),
        *(
            element(
                "td",
                text,
                extra,
                data_column=head,
                data_value=text if extra is not None else None,
                class_="none" if text == "" else None,
            )
            for (text, extra), head in zip(cells, heads[1:], strict=True)
        ),
    )


def _organ_words(organs: Mapping[str, Any], metric: str) -> str:
    row = organs[metric]
    name = _METRICS[metric]
    mean = rounded(row["mean_of_label_means"]) or "none"
    interval = row["mean_of_label_means_ci95"]
    words = f"mean of the labels' mean {name} {mean}"
    if interval is not None:
        words += f" (95 % interval {rounded(interval[0])} to {rounded(interval[1])})"
    return f"{words}, median over cases {rounded(row['median_of_case_means']) or 'none'}"
