"""Commands that are measured: exit codes, signals, limits."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flare_metrics.efficiency import _child as child_module
from flare_metrics.efficiency import measure_command
from flare_metrics.efficiency.running import shell_exit_code

linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc")


def python(code):
    return [sys.executable, "-c", code]


def measured(code, **more):
    return measure_command(python(code), gpu="none", **more)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_is_kept(code):
    assert measured(f"raise SystemExit({code})").measurement.exit_code == code


def test_a_command_that_dies_is_measured():
    run = measured("import os, time; time.sleep(0.2); os.kill(os.getpid(), 9)")
    assert run.measurement.exit_code == -9
    assert shell_exit_code(-9) == 137
    assert run.measurement.time_s >= 0.2
    assert run.interrupted_by is None and not run.timed_out


@linux
def test_a_command_is_measured_without_its_starter():
    run = measured("b = bytearray(100 << 20); del b; import time; time.sleep(0.3)")
    level = run.measurement.tree_ram_mib
    assert level.baseline == 0.0
    # Interpreter and block, which was freed before the first full step.
    assert 100 < level.peak < 130
    assert run.measurement.processes == 1


@linux
def test_children_of_children_count():
    inner = "b = bytearray(60 << 20); import time; time.sleep(0.4)"
    run = measured(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])")
    assert run.measurement.processes == 2
    assert run.measurement.tree_ram_mib.peak > 65


@linux
def test_processor_time_is_that_of_the_system():
    code = "import time\nwhile time.process_time() < 0.3: pass"
    seconds = measured(code).measurement.tree_cpu_percent.area / 100
    assert 0.29 < seconds < 0.5


def test_output_goes_to_the_file(tmp_path):
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    measured(code, output=tmp_path / "log")
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_a_program_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        measure_command(["no-such-program"], gpu="none")


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="command must name a program, got nothing"):
        measure_command([])
    with pytest.raises(ValueError, match="timeout_s must be > 0, got -1"):
        measure_command(["true"], timeout_s=-1.0, apart=True)
    with pytest.raises(ValueError, match="timeout_s needs apart=True"):
        measure_command(["true"], timeout_s=1.0)
    with pytest.raises(ValueError, match="interval_s must be > 0"):
        measure_command(["true"], interval_s=0)


def test_a_command_over_its_time_is_asked_to_end():
    run = measured("import time; time.sleep(60)", apart=True, timeout_s=0.3)
    assert run.timed_out
    assert run.measurement.exit_code == -signal.SIGTERM


def test_a_command_that_does_not_listen_is_killed(monkeypatch):
    monkeypatch.setattr(child_module, "_GRACE_S", 0.3)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    run = measured(code, apart=True, timeout_s=0.5)
    assert run.timed_out
    assert run.measurement.exit_code == -signal.SIGKILL


def test_what_a_command_leaves_running_ends_with_it(tmp_path):
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))"
    )
    measured(code, apart=True)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        # Where nobody collects it, it stays as a zombie.
        with contextlib.suppress(OSError):
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return
        time.sleep(0.02)
    raise AssertionError("it still runs")


LISTENER = """
import signal, sys, time
def told(number, frame):
    print(number, flush=True)
    raise SystemExit(7)
for number in (1, 2, 10, 15):
    signal.signal(number, told)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1], ids=str
)
def test_signals_are_passed_on(tmp_path, number, apart, monkeypatch):
    monkeypatch.setattr(child_module, "_on_terminal", lambda: False)
    log = tmp_path / "log"

    def send():
        while not log.exists() or "ready" not in log.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    run = measure_command(python(LISTENER), gpu="none", output=log, apart=apart)
    sender.join()
    assert run.interrupted_by == number
    assert run.measurement.exit_code == 7
    assert log.read_text() == f"ready\n{int(number)}\n"


def test_ctrl_c_on_a_terminal_is_not_sent_twice(monkeypatch):
    child = child_module.Child(apart=False, container=None)
    sent = []
    monkeypatch.setattr(child, "_signal", sent.append)
    monkeypatch.setattr(child_module, "_on_terminal", lambda: True)
    child._process = object()
    child._forward(signal.SIGINT, None)
    assert sent == []
    # Who presses again may have a command that ignores the first.
    child._forward(signal.SIGINT, None)
    child._forward(signal.SIGTERM, None)
    assert sent == [signal.SIGINT, signal.SIGTERM]
    assert child.interrupted_by == signal.SIGINT


ON_TERMINAL = """
import sys
from flare_metrics.efficiency import measure_command
run = measure_command([sys.executable, "-c", sys.argv[1]], gpu="none")
print("code", run.measurement.exit_code, "signal", run.interrupted_by)
"""
COUNTER = """
import signal, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("ready", flush=True)
end = time.monotonic() + 20
while not got and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.3)
raise SystemExit(len(got))
"""


def test_ctrl_c_at_a_real_terminal_reaches_the_command_once():
    pty = pytest.importorskip("pty")
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        os.execve(sys.executable, [sys.executable, "-c", ON_TERMINAL, COUNTER], environment)
    shown, pressed = b"", False
    try:
        while not re.search(rb"signal \w+\s", shown):
            shown += os.read(terminal, 1024)
            if b"ready" in shown and not pressed:
                pressed = os.write(terminal, b"\x03") == 1
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert b"code 1 signal 2" in shown


def test_a_second_signal_kills_a_session_of_its_own(monkeypatch):
    child = child_module.Child(apart=True, container=None)
    sent = []
    monkeypatch.setattr(child, "_signal", sent.append)
    child._process = object()
    child._forward(signal.SIGINT, None)
    child._forward(signal.SIGINT, None)
    assert sent == [signal.SIGINT, signal.SIGKILL]


def test_a_signal_before_the_start_reaches_the_command():
    child = child_module.Child(apart=True, container=None)
    child._forward(signal.SIGTERM, None)
    child.start(python("import time; time.sleep(60)"), sink=None)
    child.wait(timeout_s=None)
    assert child.exit_code == -signal.SIGTERM


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    measured("pass")
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_no_handler_is_set():
    codes = []
    thread = threading.Thread(
        target=lambda: codes.append(measured("raise SystemExit(5)").measurement.exit_code)
    )
    thread.start()
    thread.join()
    assert codes == [5]


def test_without_a_terminal_nothing_else_sends_ctrl_c():
    code = "from flare_metrics.efficiency._child import _on_terminal; print(_on_terminal())"
    done = subprocess.run(
        python(code), start_new_session=True, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
