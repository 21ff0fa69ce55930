"""What became of every case of a run, kept in ``report.json`` while the run goes on."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

__all__ = ["CaseRecord", "Report", "peak_memory_mib", "previous_records"]

State = Literal["not started", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """One case: exactly one state, and what is known of it.

    Parameters
    ----------
    id : str
    state : {"not started", "done", "failed"}
    inputs : list of str
    output : str
        File of the label map, relative to the report; of a case that is not started, that of an
        earlier run, as are key, checksum, seconds and notes.
    key : str
        SHA-256 over the input's bytes, the model and the settings.
    output_sha256 : str
        Of the label map.
    seconds : dict
        By step.
    notes : list of str
        What the reader repaired or found remarkable.
    kept : bool
        Whether an earlier run had done it and its output still verifies.
    error : dict or None
        Fields of the error, with a short ``kind``.
    """

    id: str
    state: State = "not started"
    inputs: tuple[str, ...] = ()
    output: str = ""
    key: str = ""
    output_sha256: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kept: bool = False
    error: Mapping[str, Any] | None = None


@dataclass
class Report:
    """The report of one run; `save` writes it whole each time."""

    path: Path
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    cases: dict[str, CaseRecord]

    def put(self, record: CaseRecord) -> None:
        """Replace a case's record and write the report."""
        self.cases[record.id] = record
        self.save()

    def count(self, state: State) -> int:
        """Return how many cases are in a state."""
        return sum(record.state == state for record in self.cases.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-ready dict."""
        return {
            "flare_infer": metadata.version("flare-infer"),
            "python": platform.python_version(),
            "versions": _versions(),
            "model": dict(self.model),
            "settings": dict(self.settings),
            "done": self.count("done"),
            "failed": self.count("failed"),
            "not_started": self.count("not started"),
            "peak_memory_mib": peak_memory_mib(),
            "cases": [asdict(record) for record in self.cases.values()],
        }

    def save(self) -> None:
        """Write the file, all or nothing."""
        from flare_io.atomic import write_json

        write_json(self.path, self.to_dict())


def previous_records(path: os.PathLike[str] | str) -> dict[str, CaseRecord]:
    """Return what earlier runs finished, none if the report is missing or unreadable.

    A run that was stopped holds them as not started until it comes to them.
    """
    try:
        cases = json.loads(Path(path).read_bytes())["cases"]
        records = [CaseRecord(**each) for each in cases]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {record.id: record for record in records if record.key and record.output_sha256}


@cache
def _versions() -> dict[str, str]:
    """Return the versions of what labels depend on."""
    names = ("flare-io", "flare-nets", "numpy", "openvino", "torch")
    return {name: metadata.version(name) for name in names if _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def peak_memory_mib() -> int | None:
    """Return the largest resident memory of this process so far, None where the system hides it."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux' ru_maxrss starts from the size of the process that started this one.
        lines = status.read_text(encoding="utf-8").splitlines()
        peak_kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        if peak_kib:
            return peak_kib[0] // 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / 2**20) if sys.platform == "darwin" else int(peak / 1024)
