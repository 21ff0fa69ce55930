"""Memory and processor time of the machine and of a tree of processes, from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple, Protocol

from flare_metrics.efficiency.official import official_ram_mib

# The kernel's mark on a process that was forked and has not started a program of its own.
_FORKED_ONLY = 0x40


class HostReading(NamedTuple):
    """Processor seconds since the machine started, and used memory."""

    user_s: float
    system_s: float
    idle_s: float
    busy_s: float
    total_s: float
    ram_mib: float


class TreeReading(NamedTuple):
    """What the processes of a tree hold now and have used."""

    ram_mib: float
    peak_mib: float
    cpu_s: float
    pids: frozenset[int]


class Reader(Protocol):
    """Reads the machine and a tree of processes."""

    def host(self) -> HostReading:
        """Read the machine."""

    def tree(self, roots: Collection[int]) -> TreeReading:
        """Read the roots and all that descends from them."""

    def exists(self, pid: int) -> bool:
        """Tell whether there is such a process."""


class _Process(NamedTuple):
    start: int
    parent: int
    session: int
    forked_only: bool
    cpu_s: float


class LinuxReader:
    """Reads /proc.

    A process once seen in the tree stays in it when its parent ends, and so do its children.

    Parameters
    ----------
    excluded : collection of int
        Processes that never count, such as the sampling process itself.
    proc : path
        Another folder in tests.
    """

    def __init__(self, *, excluded: Collection[int] = (), proc: Path = Path("/proc")) -> None:
        self._proc = os.fspath(proc)
        self._excluded = frozenset(excluded)
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._roots: frozenset[int] = frozenset()
        # Whether a process belongs to the tree; asked once, when it is first seen.
        self._member: dict[int, bool] = {}
        # Start, resident memory and peak at the reading before.
        self._before: dict[int, tuple[int, float, float]] = {}
        self._cpu_s = 0.0

    def host(self) -> HostReading:
        """Read processors and memory of the machine."""
        ticks = [float(tick) for tick in self._read("stat").split("\n", 1)[0].split()[1:9]]
        user, _, system, idle, waiting = ticks[:5]
        seconds = self._tick_s
        memory = dict(line.split(":", 1) for line in self._read("meminfo").splitlines())
        kib = {name: float(value.split()[0]) for name, value in memory.items()}
        return HostReading(
            user_s=user * seconds,
            system_s=system * seconds,
            idle_s=idle * seconds,
            busy_s=(sum(ticks) - idle - waiting) * seconds,
            total_s=sum(ticks) * seconds,
            ram_mib=official_ram_mib(
                total_kib=kib["MemTotal"],
                free_kib=kib["MemFree"],
                buffers_kib=kib.get("Buffers", 0.0),
                cached_kib=kib.get("Cached", 0.0) + kib.get("SReclaimable", 0.0),
            ),
        )

    def tree(self, roots: Collection[int]) -> TreeReading:
        """Read all processes that descend from the roots, or share a session that one leads.

        Cost: one directory listing, and two small files for each process of the tree.
        """
        processes = self._processes(frozenset(roots))
        before, self._before = self._before, {}
        ram_mib = peak_mib = cpu_s = 0.0
        for pid, process in processes.items():
            cpu_s += process.cpu_s
            memory = self._memory_mib(pid)
            if memory is None:
                continue
            resident, highest = memory
            known = before.get(pid)
            self._before[pid] = (process.start, resident, highest)
            if known is None or known[0] != process.start:
                # A process on its way from fork to exec still shows its parent's memory.
                if process.forked_only and pid not in self._roots:
                    continue
                peak = highest
            else:
                peak = highest if highest > known[2] else max(resident, known[1])
            ram_mib += resident
            peak_mib += peak
        # Times of a process that ends unseen by its parent would otherwise be lost.
        self._cpu_s = max(self._cpu_s, cpu_s)
        return TreeReading(ram_mib, peak_mib, self._cpu_s, frozenset(processes))

    def exists(self, pid: int) -> bool:
        """Tell whether there is such a process."""
        return os.path.exists(f"{self._proc}/{pid}")

    def _processes(self, roots: frozenset[int]) -> dict[int, _Process]:
        if roots != self._roots:
            self._roots = roots
            self._member = {pid: True for pid, member in self._member.items() if member}
        present = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        self._member = {pid: value for pid, value in self._member.items() if pid in present}
        new = {}
        for pid in present - self._member.keys():
            process = self._process(pid)
            if process is not None:
                new[pid] = process
                self._member[pid] = pid not in self._excluded and (
                    pid in roots or process.session in roots
                )
        # Numbers of processes start again from small ones, so parents may come after children.
        found = True
        while found:
            adopted = [
                pid
                for pid, process in new.items()
                if not self._member[pid]
                and pid not in self._excluded
                and self._member.get(process.parent, False)
            ]
            self._member.update(dict.fromkeys(adopted, True))
            found = bool(adopted)
        members = {pid: new.get(pid) or self._process(pid) for pid in present if self._is_in(pid)}
        return {pid: process for pid, process in members.items() if process is not None}

    def _is_in(self, pid: int) -> bool:
        return self._member.get(pid, False)

    def _process(self, pid: int) -> _Process | None:
        try:
            # The name in parentheses may hold anything, parentheses and blanks too.
            fields = self._read(f"{pid}/stat").rpartition(")")[2].split()
        except OSError:
            return None
        return _Process(
            start=int(fields[19]),
            parent=int(fields[1]),
            session=int(fields[3]),
            forked_only=bool(int(fields[6]) & _FORKED_ONLY),
            # Own time, and that of children which have ended.
            cpu_s=sum(int(ticks) for ticks in fields[11:15]) * self._tick_s,
        )

    def _memory_mib(self, pid: int) -> tuple[float, float] | None:
        """Return resident memory and its peak, None for a process that has just ended."""
        try:
            lines = self._read(f"{pid}/status").splitlines()
        except OSError:
            return None
        kib = {
            name: float(value.split()[0])
            for name, _, value in (line.partition(":") for line in lines)
            if name in ("VmRSS", "VmHWM")
        }
        if "VmRSS" not in kib:
            return None
        resident = kib["VmRSS"] / 1024
        return resident, max(kib.get("VmHWM", 0.0) / 1024, resident)

    def _read(self, name: str) -> str:
        with open(f"{self._proc}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()


def open_reader(*, excluded: Collection[int]) -> Reader:
    """Return the reader of this system.

    Raises
    ------
    ImportError
        If it is no Linux and psutil is not installed.
    """
    if os.path.exists("/proc/self/stat") and os.path.exists("/proc/meminfo"):
        return LinuxReader(excluded=excluded)
    from flare_metrics.efficiency._psutil import PsutilReader

    return PsutilReader(excluded=excluded)
