"""From the samples of a stretch of time to what it cost."""

from __future__ import annotations

from dataclasses import replace

from flare_metrics.efficiency.levels import Level, level_of, load_of
from flare_metrics.efficiency.measurement import Measurement
from flare_metrics.efficiency.official import STEP_S, official_efficiency
from flare_metrics.efficiency.samples import SampleLog, Samples, official_columns

__all__ = ["measurement_of"]


def measurement_of(
    log: SampleLog,
    *,
    start_s: float,
    end_s: float,
    name: str,
    started: str,
    counted: tuple[float | None, float | None] = (None, None),
    exit_code: int | None = None,
) -> Measurement:
    """Turn the samples of a stretch of time into a measurement.

    Parameters
    ----------
    log : SampleLog
        Samples from shortly before the start until shortly after the end.
    start_s, end_s : float
        By the clock of the log.
    name : str
        Also the first column of the official row.
    started : str
    counted : tuple of float or None
        Processor time of the measured processes in s, and the most memory that one of them held
        in MiB, where the system has told them; the samples may have missed some.
    exit_code : int, optional

    Returns
    -------
    Measurement

    Raises
    ------
    ValueError
        If the end lies before the start.
    """
    if end_s < start_s:
        raise ValueError(f"end_s must be >= start_s, got {end_s} and {start_s}")
    time_s = end_s - start_s
    samples = replace(
        log.samples, time_s=tuple(sampled - start_s for sampled in log.samples.time_s)
    )
    times = samples.time_s
    gpu, cpu, ram = official_columns(samples, time_s)
    reserved = [value for value in samples.gpu_reserved_mib if value is not None]
    return Measurement(
        name=name,
        started=started,
        time_s=time_s,
        official=official_efficiency(
            name=name,
            time_s=time_s,
            gpu_mib=gpu,
            cpu_percent=[100 - idle for _, _, idle in cpu],
            ram_mib=ram,
            step_s=log.interval_s,
        ),
        ram_mib=level_of(times, samples.host_ram_mib, time_s=time_s),
        tree_ram_mib=_tree_ram(samples, time_s, counted[1]),
        cpu_percent=_host_load(samples, time_s),
        tree_cpu_percent=_tree_load(samples, time_s, counted[0]),
        gpu_mib=level_of(times, samples.gpu_mib, time_s=time_s),
        tree_gpu_mib=level_of(times, samples.gpu_tree_mib, time_s=time_s, before=0.0),
        gpu_reserved_mib=max(reserved, default=None),
        device=log.device,
        processes=int(max((n for n in samples.tree_processes if n is not None), default=0)),
        exit_code=exit_code,
        interval_s=log.interval_s,
        notes=log.notes + _official_notes(log.interval_s, ram),
        samples=samples,
    )


def _tree_ram(samples: Samples, time_s: float, counted_mib: float | None) -> Level | None:
    level = level_of(
        samples.time_s,
        samples.tree_ram_mib,
        time_s=time_s,
        peaks=[max(p, counted_mib or 0.0) if p else p for p in samples.tree_peak_mib],
        before=0.0,
    )
    # Over before it was seen.
    return level if level is not None and level.peak > 0 else None


def _host_load(samples: Samples, time_s: float) -> Level | None:
    chosen = _well_apart(samples)
    return load_of(
        [samples.time_s[index] for index in chosen],
        [samples.host_busy_s[index] for index in chosen],
        time_s=time_s,
        capacity_s=[samples.host_total_s[index] for index in chosen],
    )


def _tree_load(samples: Samples, time_s: float, total_s: float | None) -> Level | None:
    chosen = _well_apart(samples)
    return load_of(
        [samples.time_s[index] for index in chosen],
        [samples.tree_cpu_s[index] for index in chosen],
        time_s=time_s,
        total_s=total_s,
    )


def _well_apart(samples: Samples) -> list[int]:
    """Return the scheduled samples, and the last one.

    Counters advance in steps of 10 ms; between two samples at nearly the same time they say
    nothing.
    """
    last = len(samples) - 1
    return [index for index, taken in enumerate(samples.scheduled) if taken or index == last]


def _official_notes(interval_s: float, ram_mib: list[float]) -> tuple[str, ...]:
    if not ram_mib:
        return ("shorter than one sampling step: the challenge's columns hold the time only",)
    if interval_s != STEP_S:
        return (
            f"sampled every {interval_s:g} s; the challenge samples every {STEP_S:g} s, and its "
            "areas are sums over such steps",
        )
    return ()
