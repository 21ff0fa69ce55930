"""Memory and processor time where there is no /proc: by psutil."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from flare_metrics.efficiency._processes import HostReading, TreeReading

_MIB = 2**20


class PsutilReader:
    """Reads the same as `LinuxReader`, peaks only where the system keeps them (Windows).

    Parameters
    ----------
    excluded : collection of int
        Processes that never count.

    Raises
    ------
    ImportError
        If psutil is not installed.
    """

    def __init__(self, *, excluded: Collection[int] = ()) -> None:
        try:
            self._psutil = import_module("psutil")
        except ImportError as error:
            raise ImportError(
                "measuring on this system needs psutil; pip install 'flare-metrics[resources]'"
            ) from error
        self._excluded = frozenset(excluded)
        # Process objects know when their number has gone to another process.
        self._processes: dict[int, Any] = {}
        self._ended_cpu_s = 0.0
        self._cpu_s: dict[int, float] = {}
        self._peak_mib: dict[int, float] = {}

    def host(self) -> HostReading:
        """Read processors and memory of the machine."""
        times = self._psutil.cpu_times()
        # Linux counts guests twice, in user time as well.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return HostReading(
            user_s=times.user,
            system_s=times.system,
            idle_s=times.idle,
            busy_s=total - times.idle - getattr(times, "iowait", 0.0),
            total_s=total,
            ram_mib=self._psutil.virtual_memory().used / _MIB,
        )

    def tree(self, roots: Collection[int]) -> TreeReading:
        """Read the roots and their descendants; one that was seen stays when its parent ends."""
        self._find(roots)
        ram_mib = peak_mib = 0.0
        for pid, process in list(self._processes.items()):
            try:
                with process.oneshot():
                    memory, times = process.memory_info(), process.cpu_times()
            except self._psutil.Error:
                del self._processes[pid]
                self._ended_cpu_s += self._cpu_s.pop(pid, 0.0)
                continue
            self._cpu_s[pid] = times.user + times.system
            highest = getattr(memory, "peak_wset", 0) / _MIB
            rose = highest > self._peak_mib.get(pid, 0.0)
            self._peak_mib[pid] = highest
            ram_mib += memory.rss / _MIB
            peak_mib += highest if rose else memory.rss / _MIB
        cpu_s = self._ended_cpu_s + sum(self._cpu_s.values())
        return TreeReading(ram_mib, peak_mib, cpu_s, frozenset(self._processes))

    def exists(self, pid: int) -> bool:
        """Tell whether there is such a process."""
        return bool(self._psutil.pid_exists(pid))

    def _find(self, roots: Collection[int]) -> None:
        for pid in set(roots) | set(self._processes):
            try:
                process = self._processes.get(pid) or self._psutil.Process(pid)
                family = [process, *process.children(recursive=True)]
            except self._psutil.Error:
                continue
            for member in family:
                if member.pid not in self._excluded:
                    self._processes.setdefault(member.pid, member)
