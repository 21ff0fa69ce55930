"""The sampling process: reads counters until its parent says so or is gone.

It talks by pipes and leaves its samples in a file, so that nothing is lost when the measured
process dies. Commands on standard input: ``root PID`` (count this process too), ``sample``
(one more now), ``end``; the end of the stream without ``end`` means that the parent died.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import asdict
from typing import Any, TextIO

from flare_metrics.efficiency._nvml import GpuReading, open_gpu
from flare_metrics.efficiency._processes import open_reader
from flare_metrics.efficiency.samples import LOG_VERSION

END = "end"
READY = "ready"


class Sampler:
    """Writes one line a sample.

    Parameters
    ----------
    log : text file
    interval_s : float
    gpu : str or None
    roots : set of int
        Processes whose trees are measured.
    """

    def __init__(self, log: TextIO, *, interval_s: float, gpu: str | None, roots: set[int]) -> None:
        self._log = log
        self._interval_s = interval_s
        self._roots = roots
        self._reader = open_reader(excluded=(os.getpid(),))
        self._gpu, notes = open_gpu(gpu, exists=self._reader.exists)
        self._noted = 0
        device = None if self._gpu is None else asdict(self._gpu.device)
        self._write(
            {"version": LOG_VERSION, "interval_s": interval_s, "device": device, "notes": notes}
        )

    def run(self, commands: queue.Queue[str | None]) -> bool:
        """Sample until the end; return whether the parent asked for it."""
        while True:
            # Sleeping after each reading, as the challenge does; a fixed rate would count more.
            wake = time.monotonic() + self._interval_s
            while (left := wake - time.monotonic()) > 0:
                try:
                    command = commands.get(timeout=left)
                except queue.Empty:
                    break
                if command is not None and command.startswith("root "):
                    self._roots.add(int(command.split()[1]))
                self.sample(scheduled=False)
                if command is None or command == END:
                    return command == END
            self.sample(scheduled=True)

    def sample(self, *, scheduled: bool) -> None:
        """Read everything once."""
        time_s = time.monotonic()
        host = self._reader.host()
        tree = self._reader.tree(self._roots) if self._roots else None
        gpu = GpuReading()
        if self._gpu is not None:
            gpu = self._gpu.read(tree.pids if tree else ())
        record: dict[str, Any] = {"time_s": time_s, "scheduled": scheduled}
        record |= {f"host_{name}": value for name, value in host._asdict().items()}
        record |= {
            "tree_ram_mib": tree and tree.ram_mib,
            "tree_peak_mib": tree and tree.peak_mib,
            "tree_cpu_s": tree and tree.cpu_s,
            "tree_processes": tree and len(tree.pids),
            "gpu_mib": gpu.used_mib,
            "gpu_reserved_mib": gpu.reserved_mib,
            "gpu_tree_mib": gpu.tree_mib,
        }
        line: dict[str, Any] = {"sample": record}
        if self._gpu is not None and len(self._gpu.notes) > self._noted:
            line["notes"] = self._gpu.notes[self._noted :]
            self._noted = len(self._gpu.notes)
        self._write(line)

    def _write(self, record: dict[str, Any]) -> None:
        self._log.write(json.dumps(record) + "\n")
        self._log.flush()


def main(settings: dict[str, Any]) -> None:
    """Run the sampling process.

    Parameters
    ----------
    settings : dict
        ``log`` (path), ``temporary`` (remove it if the parent dies), ``interval_s``, ``gpu``,
        ``roots``.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # The parent gets them too and ends this process in its own time.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    commands: queue.Queue[str | None] = queue.Queue()
    with open(settings["log"], "w", encoding="utf-8") as log:
        try:
            sampler = Sampler(
                log,
                interval_s=settings["interval_s"],
                gpu=settings["gpu"],
                roots=set(settings["roots"]),
            )
            sampler.sample(scheduled=True)
        except (ValueError, ImportError, OSError) as error:
            print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
            return
        print(READY, flush=True)
        threading.Thread(target=_listen, args=(commands,), daemon=True).start()
        asked = sampler.run(commands)
    if settings["temporary"] and not asked:
        os.unlink(settings["log"])


def _listen(commands: queue.Queue[str | None]) -> None:
    for line in sys.stdin:
        commands.put(line.strip())
    commands.put(None)
