"""Whether a source holds only the labels that its rule knows."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from flare_fusion.rules import Source

__all__ = ["check_labels"]


def check_labels(source: Source, array: NDArray[Any], xp: ModuleType) -> None:
    """Raise ValueError that names the source and the labels it must not hold.

    Examples
    --------
    >>> import numpy as np
    >>> check_labels(Source(name="A", labels=(0, 1, 2)), np.array([0, 3, 7]), np)
    Traceback (most recent call last):
    ValueError: source A must hold only the labels 0 to 2, found 3, 7
    """
    if array.size == 0:
        return
    low, high = int(array.min()) if array.dtype.kind == "i" else 0, int(array.max())
    if low >= 0 and high <= max(source.labels) and len(source.labels) == max(source.labels) + 1:
        return
    other = [int(label) for label in xp.unique(array) if int(label) not in source.labels]
    if other:
        listed = ", ".join(map(str, other[:8])) + (", ..." if len(other) > 8 else "")
        raise ValueError(
            f"source {source.name} must hold only the labels {_ranges(source.labels)}, "
            f"found {listed}"
        )


def _ranges(labels: tuple[int, ...]) -> str:
    if labels == tuple(range(len(labels))):
        return f"0 to {labels[-1]}"
    return ", ".join(map(str, labels))
