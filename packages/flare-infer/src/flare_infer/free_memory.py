"""How much memory this machine still has to give."""

from __future__ import annotations

from pathlib import Path

__all__ = ["free_memory_mib"]

_MIB = 2**20


def free_memory_mib(root: Path = Path("/")) -> int | None:
    """Return the memory that can still be taken, None where the system does not say.

    Parameters
    ----------
    root : Path, optional
        Where ``proc`` and ``sys`` are mounted.

    Notes
    -----
    ``MemAvailable`` of Linux, or what the control group of a container leaves if that is less.
    """
    found = []
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found += [int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable")]
    groups = root / "sys/fs/cgroup"
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            left = int((groups / limit).read_text()) - int((groups / used).read_text())
        except (OSError, ValueError):  # No such group, or its limit is "max".
            continue
        found.append(left // _MIB)
    return max(0, min(found)) if found else None
