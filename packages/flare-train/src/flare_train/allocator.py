"""Memory that a training step frees is kept for the next step."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_freed_memory"]

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library not to give freed memory back to the system.

    A step on the CPU frees and takes the same arrays again and again; fresh pages cost more than a
    quarter of its time (``benchmarks/train_step.py``). Peak memory grows by about a third, as the
    gaps between arrays stay. It holds for the whole process: flare-train's commands do it, `fit`
    leaves the choice to the program that calls it. flare-infer's large pages, in which arrays would
    leave wider gaps, are switched off where the program has not chosen.

    Returns
    -------
    bool
        Whether the C library is one that can; only glibc is.

    Examples
    --------
    >>> keep_freed_memory() in (True, False)
    True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    if not (mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _LARGEST)):
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "0")
    return True
