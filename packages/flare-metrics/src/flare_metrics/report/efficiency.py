"""What the segmentations cost: the challenge's columns beside the true figures, and curves."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flare_metrics.efficiency.curves import curves_svg
from flare_metrics.efficiency.levels import Level
from flare_metrics.efficiency.measurement import Measurement
from flare_metrics.report.markup import Html, element
from flare_metrics.report.measured import MeasuredCase
from flare_metrics.report.tabulation import head_row, number_cell, rounded, scrolled_table

__all__ = ["efficiency_section"]

_MOST_CURVES = 6


class _Figure(NamedTuple):
    """A column of the challenge and what was truly so; either may be missing."""

    head: str
    column: str
    true_head: str
    value: Callable[[Measurement], float | None]
    digits: int = 0


def _level(name: str, part: str) -> Callable[[Measurement], float | None]:
    def value(measurement: Measurement) -> float | None:
        level: Level | None = getattr(measurement, name)
        return None if level is None else getattr(level, part)

    return value


_FIGURES = (
    _Figure("Time s", "Time", "true time s", lambda measurement: measurement.time_s, 2),
    _Figure("MaxGPU_Mem MiB", "MaxGPU_Mem", "true peak MiB", _level("gpu_mib", "peak")),
    _Figure("", "", "above start MiB", _level("gpu_mib", "above_baseline")),
    _Figure("", "", "of the processes MiB", _level("tree_gpu_mib", "peak")),
    _Figure("AUC_GPU_Time MiB s", "AUC_GPU_Time", "true area MiB s", _level("gpu_mib", "area")),
    _Figure("", "", "area above start MiB s", _level("gpu_mib", "area_above_baseline")),
    _Figure("MaxRAM MiB", "MaxRAM", "true peak MiB", _level("ram_mib", "peak")),
    _Figure("", "", "of the processes MiB", _level("tree_ram_mib", "peak")),
    _Figure("AUC_RAM_Time MiB s", "AUC_RAM_Time", "true area MiB s", _level("ram_mib", "area")),
    _Figure(
        "MaxCPU_Utilization %",
        "MaxCPU_Utilization",
        "true peak %",
        _level("cpu_percent", "peak"),
        1,
    ),
    _Figure("", "", "of the processes %", _level("tree_cpu_percent", "peak"), 1),
    _Figure("AUC_CPU_Time % s", "AUC_CPU_Time", "true area % s", _level("cpu_percent", "area")),
)


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
    columns = _columns(cases)
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
        _summary(cases, columns) if len(cases) > 1 else None,
        _by_case(cases, columns),
        *_curves(cases),
        id="efficiency",
    )


class _Column(NamedTuple):
    head: str
    digits: int
    value: Callable[[MeasuredCase], Any]


def _columns(cases: Sequence[MeasuredCase]) -> list[_Column]:
    """Return the columns that any case has a value for."""
    columns = []
    for figure in _FIGURES:
        if figure.column:
            columns.append(_Column(figure.head, figure.digits, _official(figure.column)))
        columns.append(_Column(figure.true_head, figure.digits, _true(figure.value)))
    return [
        column for column in columns if any(column.value(case) not in (None, "") for case in cases)
    ]


def _official(column: str) -> Callable[[MeasuredCase], Any]:
    return lambda case: case.official.get(column)


def _true(value: Callable[[Measurement], float | None]) -> Callable[[MeasuredCase], Any]:
    # A case that failed has figures, but not those of the work.
    return lambda case: (
        None
        if case.measurement is None or case.status not in ("", "measured")
        else value(case.measurement)
    )


def _summary(cases: Sequence[MeasuredCase], columns: Sequence[_Column]) -> Html:
    rows = []
    for column in columns:
        values = [float(value) for case in cases if (value := column.value(case)) not in (None, "")]
        cells = [statistics.fmean(values), statistics.median(values), max(values)]
        rows.append(
            element(
                "tr",
                element("th", column.head, scope="row"),
                element("td", len(values), data_column="n"),
                *(
                    element("td", rounded(value, max(column.digits, 1)), data_column=head)
                    for value, head in zip(cells, ("mean", "median", "largest"), strict=True)
                ),
            )
        )
    return element(
        "table",
        element("caption", "All cases together"),
        element("thead", head_row(["Figure", "n", "mean", "median", "largest"])),
        element("tbody", *rows),
        class_="stacked",
    )


def _by_case(cases: Sequence[MeasuredCase], columns: Sequence[_Column]) -> Html:
    rows = [
        element(
            "tr",
            element("th", element("bdi", case.name), scope="row"),
            *(
                number_cell(_number(column.value(case)), digits=column.digits, column=column.head)
                for column in columns
            ),
        )
        for case in cases
    ]
    head = head_row(["Case", *(column.head for column in columns)])
    return scrolled_table("Cost by case", head, rows, kind="stacked", shown=True)


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


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
            curves_svg(measurement, title=case.name).replace(
                ' xmlns="http://www.w3.org/2000/svg"', "", 1
            )
        )
        for case, measurement in longest
    ]
    return [
        element("h3", words),
        element("div", *(element("div", picture) for picture in pictures), class_="curves"),
    ]
