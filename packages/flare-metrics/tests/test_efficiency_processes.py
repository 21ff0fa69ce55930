"""Readers of the machine and of process trees: on a made-up /proc, and on the real one."""

import os
import subprocess
import sys

import pytest

from flare_metrics.efficiency import _processes
from flare_metrics.efficiency._processes import LinuxReader, open_reader

linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class MadeUpProc:
    """A folder like /proc with the files that are read."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "self").mkdir()
        self.machine(user=100, system=20, idle=800)

    def machine(self, *, user, system, idle, waiting=0, nice=0):
        values = f"cpu  {user} {nice} {system} {idle} {waiting} 3 4 5 77 88"
        (self.folder / "stat").write_text(f"{values}\ncpu0 1 2 3 4\nintr 5\n")
        (self.folder / "meminfo").write_text(
            "MemTotal:       16384 kB\nMemFree:         4096 kB\nMemAvailable:    9000 kB\n"
            "Buffers:         1024 kB\nCached:          2048 kB\nSReclaimable:    1024 kB\n"
            "HugePages_Total:     0\n"
        )

    def process(
        self, pid, *, parent, rss=10, hwm=None, ticks=(0, 0, 0, 0), session=1, flags=0, start=7
    ):
        folder = self.folder / str(pid)
        folder.mkdir(exist_ok=True)
        times = " ".join(str(tick) for tick in ticks)
        (folder / "stat").write_text(
            f"{pid} (a) b ( c) S {parent} 1 {session} 0 -1 {flags} 0 0 0 0 {times} "
            f"20 0 1 0 {start} 1 1"
        )
        memory = (
            "" if rss is None else f"VmHWM:\t{(hwm or rss) * 1024} kB\nVmRSS:\t{rss * 1024} kB\n"
        )
        (folder / "status").write_text(f"Name:\tx\n{memory}Threads:\t1\n")

    def end(self, pid):
        for file in (self.folder / str(pid)).iterdir():
            file.unlink()
        (self.folder / str(pid)).rmdir()


@pytest.fixture
def proc(tmp_path):
    return MadeUpProc(tmp_path / "proc")


def test_the_machine_by_hand(proc):
    proc.machine(user=100, nice=10, system=20, idle=800, waiting=50)
    host = LinuxReader(proc=proc.folder).host()
    assert (host.user_s, host.system_s, host.idle_s) == pytest.approx(
        (100 * TICK_S, 20 * TICK_S, 800 * TICK_S)
    )
    # Guests are in user time already; waiting for disks is not busy.
    assert host.busy_s == pytest.approx((100 + 10 + 20 + 3 + 4 + 5) * TICK_S)
    assert host.total_s == pytest.approx((100 + 10 + 20 + 800 + 50 + 3 + 4 + 5) * TICK_S)
    # 16 less 4 free, 1 in buffers, 3 in cache.
    assert host.ram_mib == 8.0


def test_a_tree_is_the_root_and_all_below(proc):
    proc.process(10, parent=1, rss=100, ticks=(1, 2, 3, 4))
    proc.process(11, parent=10, rss=20, ticks=(10, 0, 0, 0))
    # Numbers start again at small ones.
    proc.process(5, parent=11, rss=3)
    proc.process(12, parent=1, rss=900)
    tree = LinuxReader(proc=proc.folder).tree([10])
    assert tree.pids == {10, 11, 5}
    assert tree.ram_mib == 123.0
    assert tree.cpu_s == pytest.approx(20 * TICK_S)


def test_excluded_processes_and_no_roots(proc):
    proc.process(10, parent=1, rss=100)
    proc.process(11, parent=10, rss=20)
    assert LinuxReader(proc=proc.folder, excluded=[11]).tree([10]).pids == {10}
    assert LinuxReader(proc=proc.folder).tree([]).pids == frozenset()
    assert LinuxReader(proc=proc.folder).tree([99]) == (0.0, 0.0, 0.0, frozenset())


def test_an_orphan_stays_in_the_tree_and_so_do_its_children(proc):
    proc.process(10, parent=1)
    proc.process(11, parent=10)
    reader = LinuxReader(proc=proc.folder)
    reader.tree([10])
    proc.end(10)
    proc.process(11, parent=1)
    proc.process(13, parent=11)
    assert reader.tree([10]).pids == {11, 13}


def test_a_number_used_again_is_another_process(proc):
    proc.process(10, parent=1)
    proc.process(11, parent=10)
    reader = LinuxReader(proc=proc.folder)
    reader.tree([10])
    proc.end(11)
    assert reader.tree([10]).pids == {10}
    proc.process(11, parent=1, start=99)
    assert reader.tree([10]).pids == {10}


def test_members_of_a_session_that_a_root_leads_belong_to_it(proc):
    proc.process(10, parent=1, session=10)
    proc.process(20, parent=1, session=10)
    proc.process(21, parent=1, session=1)
    assert LinuxReader(proc=proc.folder).tree([10]).pids == {10, 20}


def test_a_new_root_brings_what_it_has_already(proc):
    proc.process(10, parent=1)
    proc.process(20, parent=1)
    proc.process(21, parent=20)
    reader = LinuxReader(proc=proc.folder)
    assert reader.tree([10]).pids == {10}
    assert reader.tree([10, 20]).pids == {10, 20, 21}


def test_a_peak_between_samples_shows_in_the_record_of_the_kernel(proc):
    reader = LinuxReader(proc=proc.folder)
    proc.process(10, parent=1, rss=100, hwm=100)
    assert reader.tree([10]).peak_mib == 100
    proc.process(10, parent=1, rss=110, hwm=500)
    assert (reader.tree([10]).ram_mib, reader.tree([10]).peak_mib) == (110, 110)


def test_an_old_record_is_no_peak_of_now(proc):
    reader = LinuxReader(proc=proc.folder)
    proc.process(10, parent=1, rss=100, hwm=800)
    reader.tree([10])
    proc.process(10, parent=1, rss=60, hwm=800)
    # It can have held the 100 until just before.
    assert reader.tree([10]).peak_mib == 100
    assert reader.tree([10]).peak_mib == 60


def test_a_process_between_fork_and_exec_does_not_count_yet(proc):
    reader = LinuxReader(proc=proc.folder)
    proc.process(10, parent=1, rss=1000)
    reader.tree([10])
    proc.process(11, parent=10, rss=1000, flags=0x40)
    assert reader.tree([10]).ram_mib == 1000
    # A worker that stays forked counts from the second reading on.
    assert reader.tree([10]).ram_mib == 2000


def test_ended_processes_hold_no_memory_and_keep_their_time(proc):
    reader = LinuxReader(proc=proc.folder)
    proc.process(10, parent=1, rss=50, ticks=(30, 0, 0, 0))
    reader.tree([10])
    proc.process(10, parent=1, rss=None, ticks=(31, 0, 0, 0))
    tree = reader.tree([10])
    assert (tree.ram_mib, tree.cpu_s) == (0.0, pytest.approx(31 * TICK_S))
    proc.end(10)
    assert reader.tree([10]).cpu_s == pytest.approx(31 * TICK_S)


def test_a_process_that_vanishes_while_it_is_read_is_left_out(proc):
    proc.process(10, parent=1)
    proc.process(11, parent=10)
    (proc.folder / "10" / "status").unlink()
    (proc.folder / "11" / "stat").unlink()
    assert LinuxReader(proc=proc.folder).tree([10]).pids == {10}


@linux
def test_the_real_tree_holds_a_child_and_its_memory():
    code = "b = bytearray(64 << 20); print(flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        child.stdout.readline()
        tree = open_reader(excluded=()).tree([child.pid])
        assert tree.pids == {child.pid}
        assert 64 < tree.ram_mib < 120
    finally:
        child.communicate(b"\n")


@linux
def test_the_real_reader_agrees_with_psutil():
    psutil = pytest.importorskip("psutil")
    from flare_metrics.efficiency._psutil import PsutilReader

    own, peer = LinuxReader(), PsutilReader()
    ours, theirs = own.host(), peer.host()
    assert theirs[:5] == pytest.approx(ours[:5], abs=2.0)
    own_tree, peer_tree = own.tree([os.getpid()]), peer.tree([os.getpid()])
    assert own_tree.pids == peer_tree.pids
    assert peer_tree.ram_mib == pytest.approx(own_tree.ram_mib, abs=5)
    assert own_tree.cpu_s >= psutil.Process().cpu_times().user - 0.5
    assert own.exists(os.getpid()) and peer.exists(os.getpid())


def test_psutil_follows_children_and_keeps_their_time():
    psutil = pytest.importorskip("psutil")
    from flare_metrics.efficiency._psutil import PsutilReader

    code = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.1: pass\n"
    child = subprocess.Popen(
        [sys.executable, "-c", code + "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    reader = PsutilReader()
    try:
        child.stdout.readline()
        tree = reader.tree([child.pid])
        assert tree.pids == {child.pid}
        assert tree.ram_mib > 2
        assert tree.cpu_s > 0.09
    finally:
        child.communicate(b"\n")
    assert not psutil.pid_exists(child.pid)
    after = reader.tree([child.pid])
    assert (after.ram_mib, after.pids) == (0.0, frozenset())
    assert after.cpu_s >= tree.cpu_s


def test_psutil_leaves_out_the_excluded():
    pytest.importorskip("psutil")
    from flare_metrics.efficiency._psutil import PsutilReader

    assert os.getpid() not in PsutilReader(excluded=[os.getpid()]).tree([os.getpid()]).pids


def test_another_system_needs_psutil(monkeypatch):
    monkeypatch.setattr(_processes.os.path, "exists", lambda path: False)
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ImportError, match=r"pip install 'flare-metrics\[resources\]'"):
        open_reader(excluded=())


@linux
def test_reading_does_not_keep_files_open():
    reader = LinuxReader()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        reader.tree([os.getpid()])
        reader.host()
    assert len(os.listdir("/proc/self/fd")) == before
