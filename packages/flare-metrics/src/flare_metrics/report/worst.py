"""The cases with the lowest scores, with pictures of where they went wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flare_metrics.report.case_pictures import CasePictures, case_pictures
from flare_metrics.report.markup import Html, element
from flare_metrics.report.montage import Panel
from flare_metrics.report.palette import hexadecimal, label_colors
from flare_metrics.report.pictures import DENSITY, data_uri
from flare_metrics.report.tabulation import rounded

if TYPE_CHECKING:
    from flare_metrics.case_result import CaseResult
    from flare_metrics.folder import FolderScore
    from flare_metrics.protocols import Protocol

__all__ = ["mean_score", "worst_cases", "worst_section"]

_CASES, _LOWEST_LABELS = 10, 3


def worst_section(result: FolderScore, *, images: Path | None) -> Html | None:
    """Return the section with the worst cases; None if no case is scored."""
    worst = worst_cases(result)
    if not worst:
        return None
    number = "The worst case" if len(worst) == 1 else f"The {len(worst)} worst cases"
    return element(
        "section",
        element("h2", number),
        element(
            "p",
            "By the mean of DSC and NSD over all scored labels, among cases without fault. Slices "
            "are those that hold most of the lost Dice, each label counted by its share. One "
            "scale in all pictures of a case.",
        ),
        _lines_legend(),
        *(_figure(case, result.protocol, images) for case in worst),
        id="worst",
    )


def worst_cases(result: FolderScore, count: int = _CASES) -> list[CaseResult]:
    """Return the cases of lowest mean score, worst first; equals by name.

    Cases with a fault are left out, as there is nothing to compare; the page lists them by name.
    """
    ranked = [
        (mean_score(case), case.case, case)
        for case in result.cases
        if case.status == "scored" and not math.isnan(mean_score(case))
    ]
    return [case for *_, case in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def mean_score(case: CaseResult) -> float:
    """Return the mean of DSC and NSD over the scored labels, NaN where none is scored."""
    labels = case.score.labels if case.score is not None else ()
    values = [value for score in labels if score.scored for value in (score.dsc, score.nsd)]
    return float(np.mean(values)) if values else math.nan


def _figure(case: CaseResult, rules: Protocol, images: Path | None) -> Html:
    pictures = case_pictures(case, rules, images=images)
    assert case.score is not None
    scored = [score for score in case.score.labels if score.scored]
    lowest = sorted(scored, key=lambda score: score.dsc + score.nsd)[:_LOWEST_LABELS]
    words = "; ".join(
        f"{score.name} DSC {rounded(score.dsc, 3)}, NSD {rounded(score.nsd, 3)}" for score in lowest
    )
    return element(
        "article",
        element("h3", element("bdi", case.case), f": {mean_score(case):.3f}"),
        element("p", f"Lowest: {words}."),
        element("p", pictures.remark, class_="remark") if pictures.remark else None,
        element("div", *(_picture(panel, pictures) for panel in pictures.panels), class_="panels")
        if pictures.panels
        else None,
        _labels_legend(pictures, rules) if pictures.panels else None,
        class_="case",
    )


def _picture(panel: Panel, pictures: CasePictures) -> Html:
    if pictures.oriented:
        words = f"{panel.plane}, slice {panel.index + 1} of {panel.slices}"
    else:
        words = f"across array axis {panel.axis}, slice {panel.index + 1} of {panel.slices}"
    width, height = (round(side / DENSITY) for side in panel.image.size)
    return element(
        "figure",
        element(
            "img", src=data_uri(panel.image), alt=f"Outlines, {words}", width=width, height=height
        ),
        element("figcaption", words),
    )


def _lines_legend() -> Html:
    lines = (
        (_line_sample(None), " reference: solid, color of the label"),
        (_line_sample("5 4"), " prediction: dashed, paler"),
    )
    return element(
        "ul",
        *(element("li", *line) for line in lines),
        element("li", "striped: both run together"),
        class_="legend",
        aria_label="Lines",
    )


def _line_sample(dashes: str | None, color: str = "#ffffff") -> Html:
    line = element(
        "line", x1=3, x2=33, y1=8, y2=8, stroke=color, stroke_width=3, stroke_dasharray=dashes
    )
    return element("svg", line, width=36, height=16, aria_hidden="true", class_="sample")


def _labels_legend(pictures: CasePictures, rules: Protocol) -> Html:
    used = {label for panel in pictures.panels for label in panel.labels}
    colors = label_colors(label.id for label in rules.labels)
    return element(
        "ul",
        *(
            element("li", _line_sample(None, hexadecimal(colors[label.id])), " ", label.name)
            for label in rules.labels
            if label.id in used
        ),
        class_="legend",
        aria_label="Colors of labels",
    )
