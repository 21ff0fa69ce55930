"""What the processor can do, as Linux says it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["has_bfloat16"]

_INFORMATION = Path("/proc/cpuinfo")


@cache
def has_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16; False where there is no telling.

    Notes
    -----
    OpenVINO knows as well, but the key of a finished case must not need it to be loaded.
    """
    try:
        with _INFORMATION.open(encoding="ascii", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())
