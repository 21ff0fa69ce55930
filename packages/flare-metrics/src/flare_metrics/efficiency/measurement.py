"""What a piece of work cost: the challenge's numbers, and beside them the true ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flare_metrics.atomic import write_json
from flare_metrics.efficiency.levels import Level
from flare_metrics.efficiency.official import (
    STEP_S,
    Efficiency,
)
from flare_metrics.efficiency.samples import GpuDevice, Samples, official_columns
from flare_metrics.errors import UnreadableFileError

__all__ = ["Measurement", "read_measurement"]


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
        gpu, cpu, ram = official_columns(self.samples, self.time_s)
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
