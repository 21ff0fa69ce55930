"""What the sampling process read, one line a sample, and how it is read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from flare_metrics.efficiency.official import official_cpu_percent
from flare_metrics.errors import UnreadableFileError

__all__ = ["GpuDevice", "SampleLog", "Samples", "official_columns", "read_log"]

LOG_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class GpuDevice:
    """The watched GPU.

    Parameters
    ----------
    index : int
        NVML's number, the order of ``nvidia-smi``; CUDA may count otherwise.
    name, uuid, driver : str
    total_mib : float
    """

    index: int
    name: str
    uuid: str
    driver: str
    total_mib: float


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Columns of equal length, one entry a sample, in order of time.

    Parameters
    ----------
    time_s : tuple of float
        Since the start of the measured work; below 0 before it.
    scheduled : tuple of bool
        False for the additional samples at start and end, which the challenge does not take.
    host_user_s, host_system_s, host_idle_s, host_busy_s, host_total_s : tuple of float
        Processor seconds of the machine since it started; ``busy`` is everything but idle and
        waiting for disks, ``total`` everything.
    host_ram_mib : tuple of float
        Used memory as the challenge counts it.
    tree_ram_mib, tree_peak_mib, tree_cpu_s, tree_processes : tuple of float or None
        The measured processes: sum of resident memory; the most it can have been since the
        sample before, as far as the system tells; processor seconds; how many. None while the
        processes cannot be seen.
    gpu_mib, gpu_reserved_mib, gpu_tree_mib : tuple of float or None
        Device memory: total less free; reserved by the driver; of the measured processes.
    """

    time_s: tuple[float, ...] = ()
    scheduled: tuple[bool, ...] = ()
    host_user_s: tuple[float, ...] = ()
    host_system_s: tuple[float, ...] = ()
    host_idle_s: tuple[float, ...] = ()
    host_busy_s: tuple[float, ...] = ()
    host_total_s: tuple[float, ...] = ()
    host_ram_mib: tuple[float, ...] = ()
    tree_ram_mib: tuple[float | None, ...] = ()
    tree_peak_mib: tuple[float | None, ...] = ()
    tree_cpu_s: tuple[float | None, ...] = ()
    tree_processes: tuple[float | None, ...] = ()
    gpu_mib: tuple[float | None, ...] = ()
    gpu_reserved_mib: tuple[float | None, ...] = ()
    gpu_tree_mib: tuple[float | None, ...] = ()

    def __len__(self) -> int:
        return len(self.time_s)

    def to_json(self) -> dict[str, list[Any]]:
        """Return the columns as lists."""
        return {name: list(column) for name, column in asdict(self).items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Samples:
        """Return the samples of `to_json`; unknown columns are left out.

        Raises
        ------
        ValueError
            If a column is missing or the lengths differ.
        """
        columns = {}
        for name in SAMPLE_COLUMNS:
            if not isinstance(record.get(name), list | tuple):
                raise ValueError(f"samples must have a column {name!r}")
            columns[name] = tuple(record[name])
        if len({len(column) for column in columns.values()}) > 1:
            raise ValueError("the columns of samples must have equal lengths")
        return cls(**columns)


SAMPLE_COLUMNS = tuple(field.name for field in fields(Samples))


@dataclass(frozen=True, kw_only=True)
class SampleLog:
    """A log of the sampling process.

    Parameters
    ----------
    interval_s : float
        Sleep between two samples.
    device : GpuDevice or None
    notes : tuple of str
        What could not be measured, and why.
    samples : Samples
        ``time_s`` by the machine's monotonic clock.
    """

    interval_s: float
    device: GpuDevice | None
    notes: tuple[str, ...]
    samples: Samples


def official_columns(
    samples: Samples, time_s: float
) -> tuple[list[float], list[tuple[float, float, float]], list[float]]:
    """Return what the challenge's loop would have read between 0 and ``time_s``.

    Returns
    -------
    gpu_mib : list of float
        Of the whole device; empty without one.
    cpu_percent : list of tuple of float
        Shares of user, system and idle time; see `official_cpu_percent`.
    ram_mib : list of float
        Used memory of the machine.
    """
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


def read_log(path: str | os.PathLike[str]) -> SampleLog:
    """Read the log of a sampling process, also of one that was cut off.

    Parameters
    ----------
    path : path
        First line: settings and device; then one sample a line; notes may stand between.

    Returns
    -------
    SampleLog
        A last line without its end is left out.

    Raises
    ------
    UnreadableFileError
        If a line is no record of a sampling process.
    """
    lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    try:
        records = [json.loads(line) for line in lines]
        head = records[0]
        version = head["version"]
        samples = [record["sample"] for record in records if "sample" in record]
        columns = {name: [sample[name] for sample in samples] for name in SAMPLE_COLUMNS}
        log = SampleLog(
            interval_s=head["interval_s"],
            device=None if head["device"] is None else GpuDevice(**head["device"]),
            notes=tuple(note for record in records for note in record.get("notes", ())),
            samples=Samples.from_json(columns),
        )
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnreadableFileError(
            path, "must be the log of a sampling process", found=str(error), kind="format"
        ) from error
    if version != LOG_VERSION:
        raise UnreadableFileError(
            path, f"must be a log of version {LOG_VERSION}", found=str(version), kind="format"
        )
    return log
