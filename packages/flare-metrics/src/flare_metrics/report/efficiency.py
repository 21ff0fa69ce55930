"""What the segmentations cost: the challenge's columns beside the true figures, and curves."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from flare_metrics.efficiency.curves import curves_svg
from flare_metrics.report.cost_figures import Figure, figures_present
from flare_metrics.report.markup import Html, element, visible
from flare_metrics.report.measured import MeasuredCase
from flare_metrics.report.tabulation import head_row, number_cell, scrolled_table

__all__ = ["efficiency_section"]

_MOST_CURVES, _LONGEST_NAME = 6, 44


def efficiency_section(cases: Sequence[MeasuredCase]) -> Html:
    """Return the section of time, memory and load."""
    devices = {
        f"{case.measurement.device.name}, {case.measurement.device.total_mib:.0f} MiB"
        for case in cases
        if case.measurement is not None and case.measurement.device is not None
    }
    notes = {
        note: None
        for case in cases
        if case.measurement is not None
        for note in case.measurement.notes
    }
    failed = [case for case in cases if case.status not in ("", "measured")]
    tables = [
        table(name, figures, cases)
        for table in ((_summary, _by_case) if len(cases) > 1 else (_by_case,))
        for name, figures in figures_present(cases).items()
    ]
    return element(
        "section",
        element("h2", "Time and memory"),
        element(
            "p",
            "Columns with names of the challenge are computed as it does: samples of the whole "
            "machine or device, added up as if each stood for 0.1 s. Beside them the true "
            "figures: integrals over the measured times, peaks, what the work added to the level "
            "before it, and its own processes.",
        ),
        element("p", f"GPU: {'; '.join(sorted(devices))}.") if devices else None,
        element("ul", *(element("li", note) for note in notes)) if notes else None,
        element("h3", "Cases that were not measured") if failed else None,
        element(
            "ul",
            *(
                element("li", element("bdi", case.name), f": {case.status}: {case.reason}")
                for case in failed
            ),
        )
        if failed
        else None,
        *tables,
        *_curves(cases),
        id="efficiency",
    )


def _summary(name: str, figures: Sequence[Figure], cases: Sequence[MeasuredCase]) -> Html:
    rows = []
    for figure in figures:
        values = [value for case in cases if (value := figure.of(case)) is not None]
        cells = statistics.fmean(values), statistics.median(values), max(values)
        rows.append(
            element(
                "tr",
                element("th", figure.head, scope="row"),
                element("td", len(values)),
                *(number_cell(value, digits=figure.digits) for value in cells),
            )
        )
    head = head_row(["Figure", "n", "mean", "median", "largest"])
    return scrolled_table(f"{name}, all cases", head, rows, shown=True)


def _by_case(name: str, figures: Sequence[Figure], cases: Sequence[MeasuredCase]) -> Html:
    rows = [
        element(
            "tr",
            element("th", element("bdi", case.name), scope="row"),
            *(
                number_cell(figure.of(case), digits=figure.digits, column=figure.head)
                for figure in figures
            ),
        )
        for case in cases
    ]
    head = head_row(["Case", *(figure.head for figure in figures)])
    return scrolled_table(f"{name}, by case", head, rows, kind="stacked", shown=True)


def _short(name: str) -> str:
    """Return a name that fits above a curve; the table has it whole."""
    shown = visible(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 3]}..."


def _curves(cases: Sequence[MeasuredCase]) -> list[Html]:
    """Return the curves of the cases that took longest."""
    drawn = [
        (case, case.measurement)
        for case in cases
        if case.measurement is not None and len(case.measurement.samples)
    ]
    if not drawn:
        return []
    longest = sorted(drawn, key=lambda pair: -pair[1].time_s)[:_MOST_CURVES]
    words = "Over time"
    if len(drawn) > len(longest):
        words += f": the {len(longest)} cases of {len(drawn)} that took longest"
    # Within a page the name space goes without saying, and no address may be left in it.
    pictures = [
        Html(
            curves_svg(measurement, title=_short(case.name)).replace(
                ' xmlns="http://www.w3.org/2000/svg"', "", 1
            )
        )
        for case, measurement in longest
    ]
    return [
        element("h3", words),
        element("div", *(element("div", picture) for picture in pictures), class_="curves"),
    ]
