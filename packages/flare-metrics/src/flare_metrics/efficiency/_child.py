"""A command on its way: its start, its signals, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from flare_metrics.efficiency.container import Container

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_GRACE_S = 10.0
# Windows has no SIGKILL; its terminate is one.
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


class Usage(NamedTuple):
    cpu_s: float | None = None
    peak_mib: float | None = None


class Child:
    """A command on its way."""

    def __init__(self, *, apart: bool, container: Container | None) -> None:
        self._apart = apart and os.name == "posix"
        self._container = container
        self._process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        self.timed_out = False
        self.interrupted_by: int | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, command: Sequence[str], *, sink: IO[bytes] | None) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL if self._apart else None,
            stdout=sink,
            stderr=None if sink is None else subprocess.STDOUT,
            start_new_session=self._apart,
        )
        if self.interrupted_by is not None:
            self._signal(self.interrupted_by)

    def wait(self, *, timeout_s: float | None) -> Usage:
        """Wait for the end; return what the system counted for the command and its children."""
        assert self._process is not None
        timer = None
        if timeout_s is not None:
            timer = threading.Timer(timeout_s, self._time_out)
            timer.daemon = True
            timer.start()
        try:
            if not hasattr(os, "wait4"):
                self.exit_code = self._process.wait()
                return Usage()
            # Popen polls while it waits with a limit, up to 50 ms late.
            _, status, usage = os.wait4(self._process.pid, 0)
            self.exit_code = os.waitstatus_to_exitcode(status)
            self._process.returncode = self.exit_code
            return Usage(usage.ru_utime + usage.ru_stime, _peak_mib(usage.ru_maxrss))
        finally:
            if timer is not None:
                timer.cancel()

    def clean(self) -> None:
        """End what the command left running in its session."""
        if self._container is not None:
            self._container.forget()
            if self.timed_out or self.interrupted_by is not None:
                self._container.remove()
        if self._apart:
            self._signal(_KILL)

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """Pass signals on while the block runs; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
        before = {number: signal.signal(number, self._forward) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number: int, frame: object) -> None:
        first = self.interrupted_by is None
        self.interrupted_by = self.interrupted_by or number
        if self._process is None:
            return
        if self._apart:
            # Whoever insists means it.
            self._signal(number if first else _KILL)
            if self._container is not None:
                self._container.stop()
        elif not (first and number == signal.SIGINT and _on_terminal()):
            self._signal(number)

    def _time_out(self) -> None:
        self.timed_out = True
        if self._container is not None:
            self._container.stop()
        self._signal(signal.SIGTERM)
        killer = threading.Timer(_GRACE_S, self._kill_late)
        killer.daemon = True
        killer.start()

    def _signal(self, number: int) -> None:
        # Not by Popen, which would collect a command that has just ended before wait does.
        send = os.killpg if self._apart else os.kill
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(self.pid, number)

    def _kill_late(self) -> None:
        if self.exit_code is None:
            self._signal(_KILL)


def _peak_mib(maximum: float) -> float | None:
    """Return the largest resident memory of a child in MiB, None where it may not be its own.

    The kernel starts a child's count at what its parent held.
    """
    import resource

    if maximum <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        return None
    return maximum / (2**20 if sys.platform == "darwin" else 1024)


def _on_terminal() -> bool:
    """Tell whether a Ctrl-C at the terminal reaches the command by itself."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, AttributeError):
        return False
