"""NumPy or CuPy, by the array that was handed in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["array_module", "is_on_host", "on_host"]


def array_module(array: Any) -> Any:
    """Return the module whose functions take this array: ``numpy`` or ``cupy``.

    Examples
    --------
    >>> array_module(np.zeros(3)).__name__
    'numpy'
    """
    name = type(array).__module__.partition(".")[0]
    # An array of CuPy's means that it is loaded; nothing here loads it.
    return sys.modules["cupy"] if name == "cupy" else np


def is_on_host(array: Any) -> bool:
    """Whether an array lies in main memory."""
    return array_module(array) is np


def on_host(array: Any) -> NDArray[Any]:
    """Return an array in main memory, copied from a device where it lies on one."""
    return np.asarray(array) if is_on_host(array) else array_module(array).asnumpy(array)
