import ctypes
import platform
import subprocess
import sys

import pytest

from flare_train.allocator import keep_freed_memory

# Takes 64 MiB, frees them, and prints how much of it the process still holds, in MiB.
HELD = """
import sys
import numpy as np
from flare_train.allocator import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 // 2**20

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
array = np.ones(2**26, np.uint8)
del array
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(("mode", "low", "high"), [("keep", 60, 80), ("default", 0, 8)])
def test_freed_memory_stays_only_where_asked(mode: str, low: int, high: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD, mode], capture_output=True, text=True, check=True
    )
    assert low <= int(done.stdout) <= high


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(("chosen", "kept"), [(None, "0"), ("1", "1")])
def test_large_pages_are_off_where_the_program_has_not_chosen(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, kept: str
) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", chosen or "")
    if chosen is None:
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    code = (
        "from flare_train.allocator import keep_freed_memory; keep_freed_memory()\n"
        "import flare_infer.backends.torch, os; print(os.environ['THP_MEM_ALLOC_ENABLE'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == kept


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        pass

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Without())
    assert not keep_freed_memory()

    def refuse(name: object) -> None:
        raise TypeError("expected a name")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not keep_freed_memory()
