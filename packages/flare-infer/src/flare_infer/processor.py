"""What the processor can do, as Linux says it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["has_bfloat16", "has_int8"]

_INFORMATION = Path("/proc/cpuinfo")


def has_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16; False where there is no telling.

    Notes
    -----
    OpenVINO knows as well, but the key of a finished case must not need it to be loaded.
    """
    return not _flags().isdisjoint({"avx512_bf16", "amx_bf16"})


def has_int8() -> bool:
    """Return whether the processor adds up products of int8 in 32 bits; False if it cannot be told.

    Notes
    -----
    Older ones add pairs of products in 16 bits, which overflow.
    """
    return not _flags().isdisjoint({"avx512_vnni", "avx_vnni", "amx_int8"})


@cache
def _flags() -> frozenset[str]:
    try:
        with _INFORMATION.open(encoding="ascii", errors="replace") as lines:
            return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:
        return frozenset()
