"""The meter of a block, and the process that samples for it."""

import contextlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import flare_metrics.efficiency
from flare_metrics.efficiency import measure_efficiency, read_log
from flare_metrics.efficiency import meter as meter_module
from flare_metrics.efficiency._processes import LinuxReader
from flare_metrics.efficiency._sampler import Sampler
from flare_metrics.efficiency.meter import SamplingProcess

linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc")
MIB = 2**20


def test_public_names_resolve():
    names = flare_metrics.efficiency.__all__
    assert list(names) == sorted(names)
    for name in names:
        assert getattr(flare_metrics.efficiency, name).__name__ == name
    assert set(names) <= set(dir(flare_metrics.efficiency))
    with pytest.raises(AttributeError, match="no attribute 'measure'"):
        flare_metrics.efficiency.measure  # noqa: B018  # the access is the test


@linux
def test_held_memory_times_time_is_the_area():
    held_mib, times = 200, []
    with measure_efficiency(gpu="none", interval_s=0.02) as meter:
        times.append(time.monotonic())
        block = bytearray(held_mib * MIB)
        times.append(time.monotonic())
        time.sleep(1.0)
        times.append(time.monotonic())
        del block
        times.append(time.monotonic())
        time.sleep(0.2)
    # Full from the second to the third; half of it on the way up and down.
    held_s = (times[2] + times[3] - times[0] - times[1]) / 2
    level = meter.measurement.tree_ram_mib
    # The edges are known to a step, and the interpreter itself moves a little.
    assert level.area_above_baseline == pytest.approx(held_mib * held_s, rel=0.1)
    assert level.above_baseline == pytest.approx(held_mib, abs=15)
    assert meter.measurement.ram_mib.peak > 0


@linux
def test_a_peak_shorter_than_a_step_is_seen():
    with measure_efficiency(gpu="none", interval_s=5.0) as meter:
        bytearray(150 * MIB)
    assert meter.measurement.tree_ram_mib.above_baseline == pytest.approx(150, abs=15)


@linux
def test_an_earlier_peak_is_not_of_this_block():
    bytearray(300 * MIB)
    with measure_efficiency(gpu="none") as meter:
        bytearray(50 * MIB)
    assert meter.measurement.tree_ram_mib.above_baseline < 100


@linux
def test_children_count_and_the_sampling_process_does_not():
    code = "b = bytearray(100 << 20); import time; time.sleep(0.3)"
    # Pools of workers leave a process behind that watches their resources.
    others = len(LinuxReader().tree([os.getpid()]).pids) - 1
    for _ in range(3):
        with measure_efficiency(gpu="none", interval_s=0.05) as meter:
            alone = meter
            subprocess.run([sys.executable, "-c", code], check=True)
        result = alone.measurement
        assert result.processes - others == 2
        # A look between fork and exec sees the child as large as this process.
        if result.tree_ram_mib.above_baseline < 160:
            break
    assert 100 < result.tree_ram_mib.above_baseline < 160


@linux
def test_processor_time_of_the_block():
    with measure_efficiency(gpu="none", interval_s=0.05) as meter:
        begin = time.process_time()
        while time.process_time() < begin + 0.4:
            pass
    # Counted in steps of 10 ms.
    assert meter.measurement.tree_cpu_percent.area / 100 == pytest.approx(0.4, abs=0.08)


def test_the_measurement_comes_after_the_block():
    with measure_efficiency(gpu="none") as meter, pytest.raises(RuntimeError, match="after the"):
        meter.measurement  # noqa: B018  # the access is the test
    assert meter.measurement.time_s > 0


def test_a_block_that_raises_is_measured():
    with pytest.raises(KeyError), measure_efficiency(name="bad", gpu="none") as meter:
        raise KeyError
    assert meter.measurement.name == "bad"
    assert meter.measurement.notes[0] == "no GPU was watched: none was asked for"


def test_blocks_can_be_nested():
    with (
        measure_efficiency(gpu="none", name="outer") as outer,
        measure_efficiency(gpu="none", name="inner") as inner,
    ):
        sum(range(1000))
    assert outer.measurement.time_s > inner.measurement.time_s


def test_samples_have_rising_times_and_no_temporary_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(meter_module.tempfile, "tempdir", None)
    with measure_efficiency(gpu="none", interval_s=0.01) as meter:
        assert len(list(tmp_path.iterdir())) == 1
        time.sleep(0.1)
    times = meter.measurement.samples.time_s
    assert list(times) == sorted(times)
    assert times[0] < 0 < times[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interval_s", [0, -1, float("inf"), float("nan")])
def test_the_interval_must_be_positive(interval_s):
    with pytest.raises(ValueError, match="interval_s must be > 0 and finite, got"):
        SamplingProcess(interval_s=interval_s)


def test_a_sampling_process_that_dies_loses_what_comes_after(tmp_path):
    sampling = SamplingProcess(gpu="none", log=tmp_path / "log", interval_s=0.01)
    os.kill(sampling.pid, signal.SIGKILL)
    sampling._process.wait()
    sampling.sample()
    log = sampling.finish()
    assert len(log.samples) >= 1
    assert log.notes[-1] == "the sampling process ended early: later samples are missing"


def test_a_sampling_process_that_hangs_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(meter_module, "_PATIENCE_S", 0.2)
    sampling = SamplingProcess(gpu="none", log=tmp_path / "log")
    os.kill(sampling.pid, signal.SIGSTOP)
    assert "ended early" in sampling.finish().notes[-1]


def test_a_sampling_process_that_cannot_start(monkeypatch):
    monkeypatch.setattr(meter_module, "_START", "raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="ended before its first sample"):
        SamplingProcess()


def test_a_log_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        SamplingProcess(log=tmp_path / "gone" / "log")


def test_signals_of_a_terminal_do_not_reach_it():
    sampling = SamplingProcess(gpu="none")
    assert os.getpgid(sampling.pid) != os.getpgrp()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(sampling.pid, number)
    assert "ended early" not in str(sampling.finish().notes)


PARENT = """
import os, signal, sys
from flare_metrics.efficiency.meter import SamplingProcess
log = sys.argv[1] or None
sampling = SamplingProcess(gpu="none", interval_s=0.01, log=log, roots=[os.getpid()])
print(sampling.pid, sampling._log, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def wait_for_end(pid):
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        with contextlib.suppress(OSError):
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return
        time.sleep(0.02)
    raise AssertionError("the sampling process outlives its parent")


@linux
def test_samples_survive_the_measured_process(tmp_path):
    arguments = [sys.executable, "-c", PARENT]
    done = subprocess.run([*arguments, str(tmp_path / "log")], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    wait_for_end(int(done.stdout.split()[0]))
    assert len(read_log(tmp_path / "log").samples) >= 2
    # A temporary log would lie about for ever.
    done = subprocess.run([*arguments, ""], capture_output=True, text=True)
    pid, log = done.stdout.split()
    wait_for_end(int(pid))
    assert not os.path.exists(log)


def test_the_sampler_follows_its_commands():
    log = io.StringIO()
    sampler = Sampler(log, interval_s=30.0, gpu="none", roots=set())
    commands = queue.Queue()
    for command in ("sample", f"root {os.getppid()}", "end"):
        commands.put(command)
    assert sampler.run(commands) is True
    head, *samples = [json.loads(line) for line in log.getvalue().splitlines()]
    assert head["notes"] == ["no GPU was watched: none was asked for"]
    rows = [line["sample"] for line in samples]
    assert [row["scheduled"] for row in rows] == [False, False, False]
    assert rows[0]["tree_ram_mib"] is None
    assert rows[1]["tree_processes"] >= 1


def test_the_sampler_ends_with_the_stream():
    commands = queue.Queue()
    sampler = Sampler(io.StringIO(), interval_s=0.01, gpu="none", roots=set())
    threading.Timer(0.05, commands.put, (None,)).start()
    assert sampler.run(commands) is False
