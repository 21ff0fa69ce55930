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


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        pass

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Without())
    assert not keep_freed_memory()

    def refuse(name: object) -> None:
        raise TypeError("expected a name")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not keep_freed_memory()
