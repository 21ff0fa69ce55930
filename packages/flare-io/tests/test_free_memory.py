import os

import pytest

from flare_io.free_memory import available_bytes

MEMINFO = "MemTotal: 8388608 kB\nMemFree: 1024 kB\nMemAvailable: 4194304 kB\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/fs/cgroup/memory").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    return tmp_path


def test_what_is_available_counts_not_what_is_unused(root):
    assert available_bytes(root) == 4096 << 20


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
@pytest.mark.parametrize(
    ("limit_mib", "used_mib", "expected"), [(1024, 24, 1000), (8192, 1, 4096), (100, 200, 0)]
)
def test_a_container_may_have_less(root, limit, used, limit_mib, used_mib, expected):
    (root / "sys/fs/cgroup" / limit).write_text(f"{limit_mib << 20}\n")
    (root / "sys/fs/cgroup" / used).write_text(f"{used_mib << 20}\n")
    assert available_bytes(root) == expected << 20


def test_a_container_without_a_limit(root):
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    (root / "sys/fs/cgroup/memory.current").write_text("5\n")
    assert available_bytes(root) == 4096 << 20


def test_without_proc_it_is_half_of_the_machine(tmp_path):
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert available_bytes(tmp_path) == installed // 2
