"""Efficiency numbers by the formulas of the FLARE challenge, quirks included.

The challenge reads its counters in a loop, read and then sleep 0.1 s, and adds the samples up as
if each stood for exactly 0.1 s. Reading takes time too, so the true step is longer and the area
too small. These functions reproduce that; `flare_metrics.efficiency.measurement` has the true
area beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "COLUMNS",
    "STEP_S",
    "Efficiency",
    "official_area",
    "official_cpu_percent",
    "official_efficiency",
    "official_ram_mib",
    "stable_maximum",
]

STEP_S = 0.1
COLUMNS = (
    "Name",
    "Time",
    "MaxGPU_Mem",
    "AUC_GPU_Time",
    "MaxCPU_Utilization",
    "AUC_CPU_Time",
    "MaxRAM",
    "AUC_RAM_Time",
)
_STABLE_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """One row of the challenge's table, rounded as there.

    Parameters
    ----------
    name : str
        Name of the image, ``<case>_0000.nii.gz`` in the challenge.
    time_s : float
        Wall time, two decimals.
    max_gpu_mib, area_gpu_mib_s : float or None
        Largest sample of the whole device's memory, and the sum of all samples x 0.1; whole
        numbers. None where no GPU was watched.
    max_cpu_percent, area_cpu_percent_s : float or None
        The same of the machine's CPU load, two decimals.
    max_ram_mib, area_ram_mib_s : float or None
        The same of the machine's used memory; two decimals, and a whole number.
    stable_gpu_mib : float or None
        The maximum as in 2021 and 2022; see `stable_maximum`. No column of its own since 2023.
    """

    name: str
    time_s: float
    max_gpu_mib: float | None = None
    area_gpu_mib_s: float | None = None
    max_cpu_percent: float | None = None
    area_cpu_percent_s: float | None = None
    max_ram_mib: float | None = None
    area_ram_mib_s: float | None = None
    stable_gpu_mib: float | None = None

    def row(self) -> dict[str, Any]:
        """Return the eight columns of the challenge, ``""`` where nothing was measured.

        Examples
        --------
        >>> Efficiency(name="a_0000.nii.gz", time_s=1.5, max_ram_mib=900.25).row()["MaxRAM"]
        900.25
        """
        values = (
            self.name,
            self.time_s,
            self.max_gpu_mib,
            self.area_gpu_mib_s,
            self.max_cpu_percent,
            self.area_cpu_percent_s,
            self.max_ram_mib,
            self.area_ram_mib_s,
        )
        return {
            column: "" if value is None else value
            for column, value in zip(COLUMNS, values, strict=True)
        }


def official_cpu_percent(
    before_s: Sequence[float], now_s: Sequence[float]
) -> tuple[float, float, float]:
    """Return the shares of user, system and idle time between two readings, in percent.

    The challenge adds 0.1 s to the divisor and takes 100 - idle as the load. On few cores and
    short steps that is far off: two idle cores over 0.1 s read as a load of 33 %.

    Parameters
    ----------
    before_s, now_s : sequence of 3 floats
        Seconds that all processors together spent in user, system and idle state since the
        machine started (waiting for disks and all other states are left out).

    Returns
    -------
    tuple of 3 floats
        Their sum is below 100.

    Notes
    -----
    Source: ``get_cpu_usage`` in FLARE22 to FLARE24 ``Efficiency.py``.

    Examples
    --------
    >>> [round(share, 6) for share in official_cpu_percent((10, 4, 80), (10.5, 4.1, 80.3))]
    [50.0, 10.0, 30.0]
    """
    deltas = [now - before for before, now in zip(before_s, now_s, strict=True)]
    total = sum(deltas)
    user, system, idle = (100.0 * delta / (total + 0.1) for delta in deltas)
    return user, system, idle


def official_ram_mib(
    *, total_kib: float, free_kib: float, buffers_kib: float, cached_kib: float
) -> float:
    """Return the used memory of the machine in MiB as the challenge's library counted it.

    Total less free, buffers and cache (reclaimable kernel memory included), as psutil did until
    version 7.0; later versions subtract what is available instead.

    Examples
    --------
    >>> official_ram_mib(total_kib=8192, free_kib=1024, buffers_kib=1024, cached_kib=2048)
    4.0
    """
    used = total_kib - free_kib - buffers_kib - cached_kib
    if used < 0:
        # Inside some containers the cache of the host is counted in.
        used = total_kib - free_kib
    return used / 1024


def official_area(samples: Sequence[float], *, step_s: float = STEP_S) -> float:
    """Return the sum of the samples times the nominal step.

    Examples
    --------
    >>> round(official_area([100.0, 200.0, 300.0]), 9)
    60.0
    """
    return sum(samples) * step_s


def stable_maximum(samples: Sequence[float]) -> float | None:
    """Return the largest value that holds more than 2 % of the samples (FLARE 2021 and 2022).

    A short peak does not count; two samples count as the same value only if equal.

    Parameters
    ----------
    samples : sequence of float

    Returns
    -------
    float or None
        None for no samples, and where no value holds so many (51 or more samples, all
        different), where the challenge's script stops.

    Examples
    --------
    >>> stable_maximum([300.0] * 60 + [500.0] * 39 + [900.0])
    500.0
    """
    counts: dict[float, int] = {}
    for sample in samples:
        counts[sample] = counts.get(sample, 0) + 1
    stable = [value for value, n in counts.items() if n > _STABLE_SHARE * len(samples)]
    return max(stable, default=None)


def official_efficiency(
    *,
    name: str,
    time_s: float,
    gpu_mib: Sequence[float],
    cpu_percent: Sequence[float],
    ram_mib: Sequence[float],
    step_s: float = STEP_S,
) -> Efficiency:
    """Return the row of one case from its samples.

    Parameters
    ----------
    name : str
        Goes to the first column as it is.
    time_s : float
        Wall time.
    gpu_mib : sequence of float
        Total less free memory of the whole device; nothing is subtracted for what was there
        before. Empty: None in those columns.
    cpu_percent : sequence of float
        100 less the idle share of `official_cpu_percent`.
    ram_mib : sequence of float
        Used memory of the machine.
    step_s : float
        0.1 in the challenge.

    Returns
    -------
    Efficiency

    Examples
    --------
    >>> official_efficiency(
    ...     name="a", time_s=0.256, gpu_mib=[400.0, 700.4], cpu_percent=[], ram_mib=[1000.0]
    ... ).row()["AUC_GPU_Time"]
    110.0
    """
    stable = stable_maximum(gpu_mib)
    return Efficiency(
        name=name,
        time_s=_rounded(time_s, 2),
        max_gpu_mib=_largest(gpu_mib, 0),
        area_gpu_mib_s=_area(gpu_mib, step_s, 0),
        max_cpu_percent=_largest(cpu_percent, 2),
        area_cpu_percent_s=_area(cpu_percent, step_s, 2),
        max_ram_mib=_largest(ram_mib, 2),
        area_ram_mib_s=_area(ram_mib, step_s, 0),
        stable_gpu_mib=None if stable is None else _rounded(stable, 0),
    )


def _largest(samples: Sequence[float], digits: int) -> float | None:
    return _rounded(max(samples), digits) if samples else None


def _area(samples: Sequence[float], step_s: float, digits: int) -> float | None:
    return _rounded(official_area(samples, step_s=step_s), digits) if samples else None


def _rounded(value: float, digits: int) -> float:
    """Round as NumPy does, which the challenge uses: scale, round half to even, scale back."""
    scale = 10.0**digits
    return round(value * scale) / scale
