"""Peak, mean and area of a quantity over time, from samples at uneven times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Level", "level_of", "load_of"]


@dataclass(frozen=True, kw_only=True)
class Level:
    """One quantity over the measured time; the unit stands in the name of what holds it.

    Parameters
    ----------
    peak : float
        Largest value.
    mean : float
        Weighted by time.
    area : float
        Integral over time, in the unit x s.
    baseline : float or None
        Value before the start.
    above_baseline : float or None
        Largest value less the baseline.
    area_above_baseline : float or None
        The area less baseline x time; negative where others gave memory back meanwhile.
    """

    peak: float
    mean: float
    area: float
    baseline: float | None = None
    above_baseline: float | None = None
    area_above_baseline: float | None = None


def level_of(
    times_s: Sequence[float],
    values: Sequence[float | None],
    *,
    time_s: float,
    peaks: Sequence[float | None] | None = None,
    before: float | None = None,
) -> Level | None:
    """Integrate samples over the time from 0 to ``time_s``.

    Parameters
    ----------
    times_s : sequence of float
        In order. The last sample at or before 0 is the baseline.
    values : sequence of float or None
        None is skipped.
    time_s : float
        Length of the measured time.
    peaks : sequence of float or None, optional
        The most that each value can have been since the sample before.
    before : float, optional
        Baseline where no sample tells.

    Returns
    -------
    Level or None
        None if there is no value. Trapezoids between the samples inside; their first and last
        value are held to the edges. Without a sample inside, the one nearest after counts, or the
        last one.

    Examples
    --------
    >>> level = level_of([-1.0, 0.0, 1.0, 3.0], [10.0, 10.0, 30.0, 30.0], time_s=4.0)
    >>> level.peak, level.area, level.mean, level.area_above_baseline
    (30.0, 110.0, 27.5, 70.0)
    """
    points = [(t, v) for t, v in zip(times_s, values, strict=True) if v is not None]
    if not points:
        return None
    inside = [point for point in points if 0 <= point[0] <= time_s]
    after = [point for point in points if point[0] > time_s]
    curve = inside or after[:1] or points[-1:]
    curve = [(0.0, curve[0][1]), *inside, (time_s, curve[-1][1])]
    area = sum(
        (late - early) * (first + second) / 2 for (early, first), (late, second) in pairwise(curve)
    )
    # A peak before the end shows in the sample after it.
    between = zip(times_s, peaks or values, strict=True)
    highest = max([v for _, v in curve] + [v for t, v in between if v is not None and t > 0])
    known = [v for t, v in points if t <= 0]
    baseline = known[-1] if known else before
    return Level(
        peak=highest,
        mean=area / time_s if time_s else curve[0][1],
        area=area,
        baseline=baseline,
        above_baseline=None if baseline is None else highest - baseline,
        area_above_baseline=None if baseline is None else area - baseline * time_s,
    )


def load_of(
    times_s: Sequence[float],
    used_s: Sequence[float | None],
    *,
    time_s: float,
    capacity_s: Sequence[float] | None = None,
    total_s: float | None = None,
) -> Level | None:
    """Return a load in percent from counters of processor seconds.

    Parameters
    ----------
    times_s : sequence of float
        In order.
    used_s : sequence of float or None
        Counter of used seconds. None before the first value stands for 0.
    time_s : float
        Length of the measured time.
    capacity_s : sequence of float, optional
        Counter of what is 100 %; without it the clock, so that 100 is one processor.
    total_s : float, optional
        Used seconds where they are known better than from the samples.

    Returns
    -------
    Level or None
        None where nothing was counted, or no time passed. The mean is that between the last
        sample before the start and the first after the end. A step between two samples gives
        the peak.

    Examples
    --------
    >>> level = load_of([0.0, 1.0, 2.0], [5.0, 5.5, 7.5], time_s=2.0)
    >>> level.peak, level.mean, level.area
    (200.0, 125.0, 250.0)
    """
    if time_s <= 0 or all(used is None for used in used_s):
        return None
    whole = times_s if capacity_s is None else capacity_s
    points = [
        (t, used or 0.0, capacity) for t, used, capacity in zip(times_s, used_s, whole, strict=True)
    ]
    first = max((index for index, point in enumerate(points) if point[0] <= 0), default=0)
    last = min(
        (index for index, point in enumerate(points) if point[0] >= time_s),
        default=len(points) - 1,
    )
    stretch = points[first : last + 1]
    used = max(stretch[-1][1] - stretch[0][1], total_s or 0.0)
    capacity = stretch[-1][2] - stretch[0][2] if capacity_s is not None else time_s
    if capacity <= 0:
        return None
    mean = 100 * used / capacity
    steps = [
        100 * (late[1] - early[1]) / (late[2] - early[2])
        for early, late in pairwise(stretch)
        if late[2] > early[2]
    ]
    return Level(peak=max([mean, *steps]), mean=mean, area=mean * time_s)
