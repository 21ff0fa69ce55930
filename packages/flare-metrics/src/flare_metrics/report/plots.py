"""Box and strip plots of a metric, one row a label, as small inline SVG.

Places along a row are percentages, so a plot fills whatever width the page has while letters and
dots keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flare_metrics.report.markup import Html, element, joined
from flare_metrics.report.tabulation import rounded

if TYPE_CHECKING:
    from flare_metrics.folder import FolderScore
    from flare_metrics.protocols import Label

__all__ = ["Dot", "kept_dots", "plots_section"]

_MOST_DOTS, _LOWEST_DOTS, _MANY_DOTS = 200, 20, 100
_HEIGHT, _MIDDLE, _SPREAD = 34, 17, 11
_STARTS = (0.9, 0.8, 0.5, 0.0)
# Multiples of it never come near each other again, so neighbors do not cover one another.
_GOLDEN = 0.6180339887498949


class Dot(NamedTuple):
    """One case of a row."""

    value: float
    case: str
    faulty: bool


def plots_section(result: FolderScore) -> Html:
    """Return the section with the plots of DSC and NSD."""
    dots = {
        metric: [_dots(result, label, metric) for label in result.protocol.labels]
        for metric in ("dsc", "nsd")
    }
    most = max((len(row) for rows in dots.values() for row in rows), default=0)
    thinned = (
        f" Of {most} cases {_MOST_DOTS} dots are drawn in a row: the {_LOWEST_DOTS} lowest, the "
        "highest, and others at even ranks between; boxes are those of all."
        if most > _MOST_DOTS
        else ""
    )
    return element(
        "section",
        element("h2", "Scores of every case"),
        element(
            "p",
            "A dot is a case; its name and value show under the pointer. Box: quartiles and "
            "median. Whiskers: the farthest case within 1.5 times the box. Hollow: a faulty case "
            f"that scores 0.{thinned}",
        ),
        element(
            "div",
            *(
                _plot(name, result.protocol.labels, dots[metric])
                for metric, name in (("dsc", "DSC"), ("nsd", "NSD"))
            ),
            class_="plots",
        ),
        id="plots",
    )


def kept_dots(dots: Sequence[Dot]) -> list[Dot]:
    """Thin a row of dots: the lowest all stay, the rest at even ranks, the highest included.

    Examples
    --------
    >>> row = [Dot(value / 1000, "", False) for value in range(1000)]
    >>> kept = kept_dots(row)
    >>> len(kept), kept[19].value, kept[-1].value
    (200, 0.019, 0.999)
    """
    ranked = sorted(dots)
    if len(ranked) <= _MOST_DOTS:
        return ranked
    rest = np.linspace(_LOWEST_DOTS, len(ranked) - 1, _MOST_DOTS - _LOWEST_DOTS)
    return [*ranked[:_LOWEST_DOTS], *(ranked[round(rank)] for rank in rest)]


def _dots(result: FolderScore, label: Label, metric: str) -> list[Dot]:
    dots = []
    for case in result.cases:
        if case.score is None:
            continue
        score = case.score[label.id]
        value = getattr(score, metric)
        if score.scored and not math.isnan(value):
            dots.append(Dot(value, case.case, case.status != "scored"))
    return dots


def _plot(name: str, labels: Sequence[Label], rows: Sequence[list[Dot]]) -> Html:
    lowest = min((dot.value for row in rows for dot in row), default=0.0)
    start = next(value for value in _STARTS if lowest >= value)
    body = [_row(label, row, start) for label, row in zip(labels, rows, strict=True)]
    caption = name if start == 0 else f"{name}, from {start:g} to 1"
    return element(
        "table",
        element("caption", caption),
        element(
            "thead",
            element(
                "tr",
                element("th", "Label", scope="col", class_="unseen"),
                element("td", _axis(start), aria_hidden="true"),
                element("th", "median", scope="col"),
            ),
        ),
        element("tbody", *body),
        class_="plot",
    )


def _row(label: Label, dots: list[Dot], start: float) -> Html:
    values = np.array([dot.value for dot in dots], float)
    return element(
        "tr",
        element("th", label.name, scope="row"),
        element("td", _strip(label.name, dots, values, start)),
        element("td", rounded(float(np.median(values)), 3) if values.size else "no scores"),
    )


def _strip(name: str, dots: list[Dot], values: NDArray[np.float64], start: float) -> Html:
    def place(value: float) -> str:
        return f"{100 * (value - start) / (1 - start):.4g}%"

    marks: list[Html] = [
        _line("grid", place(start + (1 - start) * step / 5), 0, _HEIGHT) for step in range(6)
    ]
    words = f"{name}: no scores"
    if values.size:
        low, median, high = np.percentile(values, [25, 50, 75]).tolist()
        reach = 1.5 * (high - low)
        whiskers = [
            float(values[values >= low - reach].min()),
            float(values[values <= high + reach].max()),
        ]
        words = f"{name}: {values.size} cases, median {median:.3f}, quartiles {low:.3f} {high:.3f}"
        marks += [
            element(
                "line",
                class_="whisker",
                x1=place(whiskers[0]),
                x2=place(whiskers[1]),
                y1=_MIDDLE,
                y2=_MIDDLE,
            ),
            *(_line("whisker", place(end), _MIDDLE - 4, _MIDDLE + 4) for end in whiskers),
            _box("box", low, high, start),
        ]
        marks += [_circle(dot, place(dot.value), rank) for rank, dot in enumerate(kept_dots(dots))]
        # Above the dots, which would hide them.
        marks.append(_box("edge", low, high, start))
        marks.append(_line("median", place(median), _MIDDLE - 9, _MIDDLE + 9))
    return element(
        "svg",
        *marks,
        class_="strip many" if values.size > _MANY_DOTS else "strip",
        height=_HEIGHT,
        width="100%",
        role="img",
        aria_label=words,
    )


def _box(kind: str, low: float, high: float, start: float) -> Html:
    left, width = (100 * span / (1 - start) for span in (low - start, high - low))
    return element(
        "rect", class_=kind, x=f"{left:.4g}%", width=f"{width:.4g}%", y=_MIDDLE - 9, height=18
    )


def _circle(dot: Dot, place: str, rank: int) -> Html:
    offset = _SPREAD * (2 * ((rank * _GOLDEN) % 1) - 1)
    return element(
        "circle",
        element("title", f"{dot.case}: {dot.value:.4f}"),
        cx=place,
        cy=f"{_MIDDLE + offset:.1f}",
        r="2.5",
        class_="faulty" if dot.faulty else None,
    )


def _line(kind: str, x: str, top: float, bottom: float) -> Html:
    return element("line", class_=kind, x1=x, x2=x, y1=top, y2=bottom)


def _axis(start: float) -> Html:
    ticks = []
    for step in range(6):
        value = start + (1 - start) * step / 5
        anchor = "start" if step == 0 else "end" if step == 5 else "middle"
        ticks.append(element("text", f"{value:.2g}", x=f"{20 * step}%", y=12, text_anchor=anchor))
    return element("svg", joined(ticks), class_="axis", height=16, width="100%")
