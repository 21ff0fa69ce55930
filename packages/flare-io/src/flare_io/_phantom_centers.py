"""The nine centers of the phantom: whom they scan, how, and what their annotators looked for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CENTERS", "Center", "center_of"]

_ORGANS = frozenset(range(1, 14))
_KIDNEYS = frozenset({2, 13})


@dataclass(frozen=True)
class Center:
    """One center.

    Parameters
    ----------
    name : str
        ``"C0"`` to ``"C8"``.
    annotated : frozenset of int or None
        K, the classes its annotators look for; None for no labels at all.
    tumor_host : str or None
        The one host whose tumors are annotated and which eight in ten of its tumors have; None for
        all.
    noise_hu : float
        Standard deviation of the noise.
    grain_voxels : float
        Width of the noise kernel.
    native_share : float
        Share of scans without contrast.
    offset_mm : float
        How far the field of view lies toward the head.
    """

    name: str
    annotated: frozenset[int] | None
    tumor_host: str | None = None
    noise_hu: float = 18.0
    grain_voxels: float = 0.7
    native_share: float = 0.05
    offset_mm: float = 0.0


CENTERS = {
    center.name: center
    for center in (
        Center("C0", _ORGANS, None, 14.0, 0.6, 0.0, 0.0),
        Center("C1", frozenset({1, 14}), "liver", 20.0, 0.8, 0.0, 6.0),
        Center("C2", _KIDNEYS | {14}, "kidney", 16.0, 0.6, 0.05, -8.0),
        Center("C3", frozenset({4, 14}), "pancreas", 22.0, 0.9, 0.0, 0.0),
        Center("C4", frozenset({3}), None, 26.0, 0.7, 0.15, 8.0),
        Center("C5", _KIDNEYS | {1, 3, 4}, None, 12.0, 0.5, 0.05, 0.0),
        Center("C6", frozenset({14}), None, 24.0, 1.0, 0.05, -4.0),
        Center("C7", None, None, 20.0, 0.8, 0.10, 0.0),
        Center("C8", _KIDNEYS | {1, 3, 4, 11, 14}, None, 18.0, 0.7, 0.0, 4.0),
    )
}

# Twenty cases: 45 % unlabeled, 10 % of C0, the rest shared; every beginning of the row is a fair
# mixture, so that a data set of six cases teaches something too.
_ROW = [
    "0",
    "7",
    "1",
    "7",
    "2",
    "8",
    "7",
    "5",
    "7",
    "3",
    "7",
    "0",
    "7",
    "4",
    "7",
    "6",
    "7",
    "1",
    "7",
    "2",
]


def center_of(index: int) -> Center:
    """Return the center of a case.

    Examples
    --------
    >>> [center_of(k).name for k in range(4)]
    ['C0', 'C7', 'C1', 'C7']
    """
    return CENTERS[f"C{_ROW[index % len(_ROW)]}"]
