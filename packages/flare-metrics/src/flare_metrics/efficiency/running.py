"""Running a command and measuring it, with its signals and its exit code passed on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple

from flare_metrics.efficiency.container import Container
from flare_metrics.efficiency.measurement import Measurement, measurement_of
from flare_metrics.efficiency.meter import SamplingProcess, now_utc
from flare_metrics.efficiency.official import STEP_S

__all__ = ["CommandRun", "measure_command", "shell_exit_code"]

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_GRACE_S = 10.0
_UNSEEN_CONTAINER = "the processes of the container cannot be seen from this machine"
# Windows has no SIGKILL; its terminate is one.
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass(frozen=True, kw_only=True)
class CommandRun:
    """What became of a measured command.

    Parameters
    ----------
    measurement : Measurement
    timed_out : bool
    interrupted_by : int or None
        The first signal that came while it ran.
    """

    measurement: Measurement
    timed_out: bool = False
    interrupted_by: int | None = None


def measure_command(
    command: Sequence[str],
    *,
    name: str = "",
    interval_s: float = STEP_S,
    gpu: str | None = None,
    output: Path | None = None,
    timeout_s: float | None = None,
    apart: bool = False,
    container: Container | None = None,
) -> CommandRun:
    """Run a command to its end and measure it and all that it starts.

    The clock runs from just before the command is started until it has ended. Signals that come
    meanwhile are passed on to it, and the measurement is made whatever becomes of it.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; no shell takes part.
    name, interval_s, gpu
        As in `measure_efficiency`.
    output : path, optional
        File for its standard output and error; without it they stay this program's own.
    timeout_s : float, optional
        Ask it to end after this time, and kill it 10 s later. Needs ``apart``.
    apart : bool
        Run it in a session of its own, without input; what it leaves running is killed with it.
    container : Container, optional
        The command starts this container, whose processes are measured instead.

    Returns
    -------
    CommandRun

    Raises
    ------
    OSError
        If the program cannot be started.
    ValueError
        If arguments are out of range.
    """
    if not command:
        raise ValueError("command must name a program, got nothing")
    if timeout_s is not None and not (timeout_s > 0 and apart):
        raise ValueError(f"timeout_s must be > 0 and needs apart, got {timeout_s}, {apart}")
    sampling = SamplingProcess(interval_s=interval_s, gpu=gpu)
    try:
        with contextlib.ExitStack() as stack:
            sink = None if output is None else stack.enter_context(output.open("wb"))
            running = _Running(apart=apart, container=container)
            stack.enter_context(running.forwarding())
            started, start_s = now_utc(), time.monotonic()
            running.start(command, sink=sink)
            if container is None:
                sampling.add_root(running.pid)
            else:
                container.watch(sampling.add_root)
            stack.callback(running.clean)
            usage = running.wait(timeout_s=timeout_s)
            end_s = time.monotonic()
    except BaseException:
        sampling.finish()
        raise
    log = sampling.finish()
    if container is not None:
        # The client that asked for the container is not what is measured.
        usage = _Usage()
        if not any(log.samples.tree_processes):
            log = replace(log, notes=(*log.notes, _UNSEEN_CONTAINER))
    measurement = measurement_of(
        log,
        start_s=start_s,
        end_s=end_s,
        name=name,
        started=started,
        counted=(usage.cpu_s, usage.peak_mib),
        exit_code=running.exit_code,
    )
    return CommandRun(
        measurement=measurement,
        timed_out=running.timed_out,
        interrupted_by=running.interrupted_by,
    )


class _Usage(NamedTuple):
    cpu_s: float | None = None
    peak_mib: float | None = None


class _Running:
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

    def wait(self, *, timeout_s: float | None) -> _Usage:
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
                return _Usage()
            # Popen polls while it waits with a limit, up to 50 ms late.
            _, status, usage = os.wait4(self._process.pid, 0)
            self.exit_code = os.waitstatus_to_exitcode(status)
            self._process.returncode = self.exit_code
            return _Usage(usage.ru_utime + usage.ru_stime, _peak_mib(usage.ru_maxrss))
        finally:
            if timer is not None:
                timer.cancel()

    def clean(self) -> None:
        """End what the command left running in its session."""
        if self._container is not None:
            self._container.forget()
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


def shell_exit_code(code: int) -> int:
    """Return the exit code by which shells report one that may be a signal.

    Examples
    --------
    >>> shell_exit_code(3), shell_exit_code(-9)
    (3, 137)
    """
    return code if code >= 0 else 128 - code
