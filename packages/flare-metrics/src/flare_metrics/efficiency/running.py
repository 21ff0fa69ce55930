"""Running a command and measuring it, with its signals and its exit code passed on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flare_metrics.efficiency._child import Child, Usage
from flare_metrics.efficiency.container import Container
from flare_metrics.efficiency.derivation import measurement_of
from flare_metrics.efficiency.measurement import Measurement
from flare_metrics.efficiency.meter import SamplingProcess, now_utc
from flare_metrics.efficiency.official import STEP_S

__all__ = ["CommandRun", "measure_command", "shell_exit_code"]

_UNSEEN_CONTAINER = "the processes of the container cannot be seen from this machine"


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
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s must be > 0, got {timeout_s:g}")
    if timeout_s is not None and not apart:
        raise ValueError("timeout_s needs apart=True, got False")
    sampling = SamplingProcess(interval_s=interval_s, gpu=gpu)
    try:
        with contextlib.ExitStack() as stack:
            sink = None if output is None else stack.enter_context(output.open("wb"))
            running = Child(apart=apart, container=container)
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
        usage = Usage()
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


def shell_exit_code(code: int) -> int:
    """Return the exit code by which shells report one that may be a signal.

    Examples
    --------
    >>> shell_exit_code(3), shell_exit_code(-9)
    (3, 137)
    """
    return code if code >= 0 else 128 - code
