"""Memory and load over time as a self-contained SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from flare_metrics.efficiency.levels import Level
from flare_metrics.efficiency.measurement import Measurement
from flare_metrics.efficiency.samples import Samples

__all__ = ["CURVES_STYLE", "curves_svg"]

_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 200, 58, 14, 36, 34
# Of a character of the legend, about.
_LETTER = 7.2
_MOST_POINTS = 600

CURVES_STYLE = """
.flare-curves{width:100%;max-width:520px;background:#fff;font:13px system-ui,sans-serif}
.flare-curves text{fill:#333}
.flare-curves .head{font-weight:600;font-size:14px}
.flare-curves .grid{stroke:#ddd}
.flare-curves .start{stroke:#999;stroke-dasharray:3 3}
.flare-curves polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}
.flare-curves .whole{stroke:#0072b2}.flare-curves text.whole{fill:#0072b2;stroke:none}
.flare-curves .tree{stroke:#b34a00}.flare-curves text.tree{fill:#b34a00;stroke:none}
@media screen and (prefers-color-scheme:dark){
.flare-curves{background:#16181c}
.flare-curves text{fill:#ddd}
.flare-curves .grid{stroke:#3a3d44}
.flare-curves .whole{stroke:#56b4e9}.flare-curves text.whole{fill:#56b4e9}
.flare-curves .tree{stroke:#f0a050}.flare-curves text.tree{fill:#f0a050}
}"""
"""The style sheet within each picture, by whose checksum a page can allow it."""


class _Line(NamedTuple):
    kind: str
    name: str
    points: list[tuple[float, float]]
    peak: float


class _Panel(NamedTuple):
    title: str
    lines: list[_Line]


def curves_svg(measurement: Measurement, *, title: str = "") -> str:
    """Draw GPU memory, memory and processor load over time.

    Parameters
    ----------
    measurement : Measurement
        With its samples. A quantity that was not measured gets no panel.
    title : str, optional
        Its name by default.

    Returns
    -------
    str
        An ``svg`` element that needs nothing from outside; light and dark by the reader's choice.
        Curves of many samples keep the extremes of each pixel.

    Raises
    ------
    ValueError
        If the measurement holds no samples.
    """
    samples = measurement.samples
    if not len(samples):
        raise ValueError("measurement must hold samples to draw curves, got none")
    panels = [panel for panel in _panels(measurement) if panel.lines]
    left, right = min(0.0, samples.time_s[0]), max(measurement.time_s, samples.time_s[-1], 1e-3)
    height = _TOP + _PANEL * len(panels)
    title = title or measurement.name
    body = [
        _panel(panel, top=_TOP + _PANEL * index, span=(left, right), end=measurement.time_s)
        for index, panel in enumerate(panels)
    ]
    seconds = f"{measurement.time_s:.2f} s"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flare-curves" role="img" '
        f'viewBox="0 0 {_WIDTH} {height}">'
        f"<title>{escape(title)}: memory and load over time</title><style>{CURVES_STYLE}</style>"
        f'<text class="head" x="{_LEFT}" y="20">{escape(title)}: {seconds}</text>'
        + "".join(body)
        + "</svg>\n"
    )


def _panels(measurement: Measurement) -> list[_Panel]:
    samples = measurement.samples
    device = "device" if measurement.device is None else measurement.device.name
    return [
        _Panel(
            "GPU memory, MiB",
            _lines(
                (device, _known(samples, samples.gpu_mib), measurement.gpu_mib),
                ("processes", _known(samples, samples.gpu_tree_mib), measurement.tree_gpu_mib),
            ),
        ),
        _Panel(
            "Memory, MiB",
            _lines(
                ("machine", _known(samples, samples.host_ram_mib), measurement.ram_mib),
                ("processes", _known(samples, samples.tree_ram_mib), measurement.tree_ram_mib),
            ),
        ),
        _Panel(
            "Processor load, % of one processor",
            _lines(
                ("machine", _rates(samples, samples.host_busy_s), None),
                ("processes", _rates(samples, samples.tree_cpu_s), None),
            ),
        ),
    ]


def _known(samples: Samples, values: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(t, v) for t, v in zip(samples.time_s, values, strict=True) if v is not None]


def _lines(*named: tuple[str, list[tuple[float, float]], Level | None]) -> list[_Line]:
    lines = []
    for kind, (name, points, level) in zip(("whole", "tree"), named, strict=True):
        if points:
            # The curve may miss what the level knows to have been between two samples.
            peak = max(v for _, v in points) if level is None else level.peak
            lines.append(_Line(kind, name, points, peak))
    return lines


def _rates(samples: Samples, counter: Sequence[float | None]) -> list[tuple[float, float]]:
    """Return the load between scheduled samples in percent, at the later of the two."""
    points: list[tuple[float, float]] = []
    before: tuple[float, float] | None = None
    for time_s, scheduled, value in zip(samples.time_s, samples.scheduled, counter, strict=True):
        if not scheduled or value is None:
            continue
        if before is not None and time_s > before[0]:
            # Processes that end take their time along where nobody collects it.
            points.append((time_s, max(0.0, 100 * (value - before[1]) / (time_s - before[0]))))
        before = (time_s, value)
    return points


def _panel(panel: _Panel, *, top: int, span: tuple[float, float], end: float) -> str:
    highest = max(v for line in panel.lines for _, v in line.points)
    step = _round_step(highest or 1.0)
    ceiling = step * max(1, math.ceil(highest / step))
    upper, lower = top + 44, top + _PANEL - _BOTTOM
    scale_x = (_WIDTH - _LEFT - _RIGHT) / (span[1] - span[0])

    def x(time_s: float) -> str:
        return f"{_LEFT + (time_s - span[0]) * scale_x:.1f}"

    def y(value: float) -> str:
        return f"{lower - (lower - upper) * value / ceiling:.1f}"

    wide = _round_step(span[1] - span[0])
    ticks = range(math.ceil(span[0] / wide), math.floor(span[1] / wide) + 1)
    parts = [
        f'<text class="head" x="{_LEFT}" y="{top + 14}">{escape(panel.title)}</text>',
        *(_grid_line(y(index * step), index * step) for index in range(round(ceiling / step) + 1)),
        *(
            f'<text x="{x(index * wide)}" y="{lower + 17}" text-anchor="middle">'
            f"{round(index * wide, 6):g}{' s' if index == ticks[-1] else ''}</text>"
            for index in ticks
        ),
        *(
            f'<line class="start" x1="{x(t)}" x2="{x(t)}" y1="{upper}" y2="{lower}"/>'
            for t in (0.0, end)
        ),
    ]
    left = float(_LEFT)
    for line in panel.lines:
        shown = " ".join(f"{x(t)},{y(v)}" for t, v in _thinned(line.points))
        text = f"{line.name}, peak {line.peak:.0f}"
        parts.append(f'<polyline class="{line.kind}" points="{shown}"/>')
        parts.append(
            f'<text class="{line.kind}" x="{left:.0f}" y="{top + 32}">{escape(text)}</text>'
        )
        left += 20 + _LETTER * len(text)
    return "".join(parts)


def _grid_line(y: str, value: float) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text x="{_LEFT - 6}" y="{y}" dy="4" text-anchor="end">{value:g}</text>'
    )


def _round_step(span: float) -> float:
    """Return a step of 1, 2 or 5 x 10^n that divides a span into three to seven parts."""
    magnitude = 10.0 ** math.floor(math.log10(span / 3))
    return next(factor * magnitude for factor in (5.0, 2.0, 1.0) if factor * magnitude <= span / 3)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most about 600 points that keep lowest and highest of each stretch."""
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil(2 * len(points) / _MOST_POINTS)
    kept = []
    for begin in range(0, len(points), size):
        stretch = points[begin : begin + size]
        extremes = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        kept += sorted(extremes)
    return kept
