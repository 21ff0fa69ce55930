"""NumPy or CuPy, by the arrays that were handed in."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


def array_module(*arrays: Any) -> ModuleType:
    """Return the module that all arrays belong to; mixing raises.

    Examples
    --------
    >>> array_module(np.zeros(1)).__name__
    'numpy'
    """
    homes = {type(array).__module__.partition(".")[0] for array in arrays}
    if homes == {"cupy"}:
        return sys.modules["cupy"]
    if "cupy" in homes:
        raise TypeError("sources must all be NumPy or all be CuPy arrays, got both")
    return np
