"""What a piece of work cost: the challenge's numbers, and beside them the true ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flare_metrics.atomic import write_json
from flare_metrics.efficiency.levels import Level, level_of, load_of
from flare_metrics.efficiency.official import (
    STEP_S,
    Efficiency,
    official_cpu_percent,
    official_efficiency,
)
from flare_metrics.efficiency.samples import GpuDevice, SampleLog, Samples
from flare_metrics.errors import UnreadableFileError

__all__ = ["Measurement", "measurement_of", "read_measurement"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Time, memory and processor use of one piece of work.

    Parameters
    ----------
    name : str
    started : str
        Date and time in UTC.
    time_s : float
        Wall time.
    official : Efficiency
        The columns of the challenge.
    ram_mib : Level or None
        Used memory of the machine.
    tree_ram_mib : Level or None
        Resident memory of the measured processes; memory that several share counts for each.
        ``peak`` also sees what was held between two samples, as far as the system tells (Linux).
    cpu_percent : Level or None
        Load of the machine; 100 is all processors.
    tree_cpu_percent : Level or None
        Load by the measured processes; 100 is one processor. The area / 100 is processor seconds.
    gpu_mib, tree_gpu_mib : Level or None
        Memory of the whole device (total less free) and of the measured processes on it.
    gpu_reserved_mib : float or None
        What the driver keeps for itself, part of ``gpu_mib``.
    device : GpuDevice or None
    processes : int
        The most measured processes at a time.
    exit_code : int or None
        Of a measured command; negative for a signal.
    interval_s : float
        Sleep between two samples.
    notes : tuple of str
        What could not be measured, and why.
    samples : Samples
    """

    name: str
    started: str
    time_s: float
    official: Efficiency
    ram_mib: Level | None = None
    tree_ram_mib: Level | None = None
    cpu_percent: Level | None = None
    tree_cpu_percent: Level | None = None
    gpu_mib: Level | None = None
    tree_gpu_mib: Level | None = None
    gpu_reserved_mib: float | None = None
    device: GpuDevice | None = None
    processes: int = 0
    exit_code: int | None = None
    interval_s: float = STEP_S
    notes: tuple[str, ...] = ()
    samples: Samples = field(default_factory=Samples)

    def to_json(self, *, samples: bool = True) -> dict[str, Any]:
        """Return a JSON-ready dict, with or without the samples."""
        record = {name: value for name, value in vars(self).items() if name != "samples"}
        for name, value in record.items():
            if isinstance(value, Level | Efficiency | GpuDevice):
                record[name] = asdict(value)
        record["notes"] = list(self.notes)
        return {**record, "samples": self.samples.to_json()} if samples else record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Measurement:
        """Return the measurement of `to_json`; names that are not its own are left out.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is none.
        """
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        for name in _LEVELS:
            if known.get(name) is not None:
                known[name] = Level(**known[name])
        known["official"] = Efficiency(**record["official"])
        if known.get("device") is not None:
            known["device"] = GpuDevice(**known["device"])
        known["notes"] = tuple(record.get("notes", ()))
        if "samples" in known:
            known["samples"] = Samples.from_json(known["samples"])
        return cls(**known)

    def record(self) -> dict[str, Any]:
        """Return the dict that `write` writes.

        The challenge's own script finds the names and values that its harness leaves for a case;
        ``measurement`` is ours.
        """
        gpu, cpu, ram = _official_columns(self.samples, self.time_s)
        return {
            "gpu_memory": gpu,
            "cpu_list": cpu,
            "RAM_list": ram,
            "time": self.time_s,
            "measurement": self.to_json(),
        }

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all."""
        write_json(path, self.record())


_LEVELS = tuple(
    name for name, kind in Measurement.__annotations__.items() if kind == "Level | None"
)


def read_measurement(path: str | os.PathLike[str]) -> Measurement:
    """Read what `Measurement.write` wrote.

    Raises
    ------
    UnreadableFileError
        If the file holds no measurement.
    """
    try:
        return Measurement.from_json(json.loads(Path(path).read_bytes())["measurement"])
    except (ValueError, TypeError, LookupError) as error:
        raise UnreadableFileError(
            path,
            "must hold a measurement",
            found=f"{type(error).__name__} {error}",
            remedy="write one with flare-metrics measure -o FILE.json",
            kind="format",
        ) from error


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
    gpu, cpu, ram = _official_columns(samples, time_s)
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


def _official_columns(
    samples: Samples, time_s: float
) -> tuple[list[float], list[tuple[float, float, float]], list[float]]:
    """Return GPU memory, processor shares and memory as the challenge's loop would have."""
    gpu, cpu, ram = [], [], []
    states = zip(samples.host_user_s, samples.host_system_s, samples.host_idle_s, strict=True)
    before = None
    for index, state in enumerate(states):
        if not samples.scheduled[index]:
            continue
        if 0 <= samples.time_s[index] <= time_s:
            used = samples.gpu_mib[index]
            gpu += [] if used is None else [used]
            ram.append(samples.host_ram_mib[index])
            cpu.append(official_cpu_percent(before or state, state))
        before = state
    return gpu, cpu, ram


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
