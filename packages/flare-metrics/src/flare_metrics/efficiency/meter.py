"""Measuring a stretch of a program, or anything else, from a process beside it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flare_metrics.efficiency.derivation import measurement_of
from flare_metrics.efficiency.measurement import Measurement
from flare_metrics.efficiency.official import STEP_S
from flare_metrics.efficiency.samples import SampleLog, read_log

__all__ = ["Meter", "SamplingProcess", "measure_efficiency"]

_PATIENCE_S = 10.0
# Like the spawn method of multiprocessing: a fresh interpreter that finds what this one finds.
_START = (
    "import json, sys; settings = json.loads(sys.argv[1]); sys.path[:] = settings.pop('path'); "
    "from flare_metrics.efficiency._sampler import main; main(settings)"
)


class Meter:
    """Holds the measurement once the work is over."""

    _measurement: Measurement | None = None

    @property
    def measurement(self) -> Measurement:
        """The measurement.

        Raises
        ------
        RuntimeError
            While the work is going on.
        """
        if self._measurement is None:
            raise RuntimeError("the measurement is there after the with block has ended")
        return self._measurement


@contextlib.contextmanager
def measure_efficiency(
    *,
    name: str = "",
    interval_s: float = STEP_S,
    gpu: str | None = None,
    log: str | os.PathLike[str] | None = None,
    reset_peak: bool = True,
) -> Iterator[Meter]:
    """Measure what the block costs: time, memory and processors of this process and its children.

    A process of its own takes the samples. It costs 0.1 s to start, 14 MiB of the machine's memory
    (which the baseline holds already), and 2 % of one core, 11 % with 200 processes to read.

    Parameters
    ----------
    name : str
    interval_s : float
        Sleep between two samples; 0.1 in the challenge.
    gpu : str, optional
        Index as in ``nvidia-smi`` or UUID; ``"none"`` for no device; the first one by default.
    log : path, optional
        Where the samples go as they come; they stay there whatever happens to this process, and
        `read_log` reads them.
    reset_peak : bool
        Reset the kernel's record of this process's memory peak at the start (Linux), so that the
        peak is that of the block to the page, also between two samples.

    Yields
    ------
    Meter
        ``meter.measurement`` after the block, also when the block raised.

    Raises
    ------
    ValueError
        If the interval is not > 0, or a GPU was asked for that is not there.
    ImportError
        If the system is no Linux and psutil is missing.
    OSError
        If the log cannot be written.
    RuntimeError
        If no sampling process can be started.

    Examples
    --------
    >>> with measure_efficiency(gpu="none") as meter:
    ...     total = sum(range(1000))
    >>> meter.measurement.gpu_mib is None and meter.measurement.tree_ram_mib.peak > 1
    True
    """
    meter = Meter()
    if reset_peak:
        _reset_peak()
    sampling = SamplingProcess(roots=(os.getpid(),), interval_s=interval_s, gpu=gpu, log=log)
    try:
        started, start_s = now_utc(), time.monotonic()
        sampling.sample()
        yield meter
    finally:
        end_s = time.monotonic()
        meter._measurement = measurement_of(
            sampling.finish(), start_s=start_s, end_s=end_s, name=name, started=started
        )


class SamplingProcess:
    """A process that samples from its creation until `finish`.

    Parameters
    ----------
    roots : collection of int
        Processes whose trees are measured; more can follow.
    interval_s : float
    gpu : str, optional
    log : path, optional

    Raises
    ------
    ValueError, ImportError, RuntimeError, OSError
        As in `measure_efficiency`. When it returns, the first sample has been taken.
    """

    def __init__(
        self,
        *,
        roots: Collection[int] = (),
        interval_s: float = STEP_S,
        gpu: str | None = None,
        log: str | os.PathLike[str] | None = None,
    ) -> None:
        if not 0 < interval_s < float("inf"):
            raise ValueError(f"interval_s must be > 0 and finite, got {interval_s}")
        self._temporary = log is None
        self._log = Path(os.path.abspath(log)) if log is not None else _temporary_log()
        # A folder that is missing or forbidden shows here, as the error that it is.
        self._log.touch()
        settings = {
            "log": str(self._log),
            "temporary": self._temporary,
            "interval_s": interval_s,
            "gpu": gpu,
            "roots": list(roots),
            "path": sys.path,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C on a terminal must not reach it.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if answer != "ready":
            self._close()
            self._remove()
            raise _startup_error(answer)

    @property
    def pid(self) -> int:
        """Number of the sampling process."""
        return self._process.pid

    def add_root(self, pid: int) -> None:
        """Measure the tree of this process too, and take a sample now."""
        self._send(f"root {pid}")

    def sample(self) -> None:
        """Take one more sample now."""
        self._send("sample")

    def finish(self) -> SampleLog:
        """Take a last sample, end the process and return the log.

        A sampling process that died costs the samples after its death, which a note tells.
        """
        alive = self._send("end")
        alive = self._close() == 0 and alive
        try:
            log = read_log(self._log)
        finally:
            self._remove()
        if alive:
            return log
        lost = "the sampling process ended early: later samples are missing"
        return replace(log, notes=(*log.notes, lost))

    def _send(self, command: str) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return False
        return True

    def _close(self) -> int:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            return process.wait(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            process.stdout.close()

    def _remove(self) -> None:
        if self._temporary:
            self._log.unlink(missing_ok=True)


def now_utc() -> str:
    """Return date and time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _temporary_log() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="flare-metrics-", suffix=".jsonl")
    os.close(descriptor)
    return Path(name)


def _startup_error(answer: str) -> Exception:
    kinds: dict[str, type[Exception]] = {"ValueError": ValueError, "ImportError": ImportError}
    try:
        record = json.loads(answer)
        return kinds.get(record["kind"], RuntimeError)(record["error"])
    except (ValueError, LookupError):
        return RuntimeError("the sampling process ended before its first sample")


def _reset_peak() -> None:
    # Only Linux can, and not every kernel.
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
