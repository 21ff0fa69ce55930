"""Memory of this process, as Linux counts it.

``getrusage`` would not do: its peak starts from the size of the process that started this one.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["forget_peak", "resident_mib"]


def resident_mib(field: str = "VmHWM") -> float:
    """Return ``VmRSS``, what is resident now, or ``VmHWM``, the most since it was forgotten."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status must hold {field}; memory is measured on Linux only")


def forget_peak() -> None:
    """Let the peak start again from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
