"""Sums of the logits of overlapping windows, of which only the last planes are held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.half import LARGEST_HALF, round_to_half
from flare_infer.heads import Head
from flare_infer.ring import PlaneRing
from flare_infer.spec import Mode
from flare_infer.window_weights import MapWeights, ShareWeights
from flare_infer.windows import Start

__all__ = ["PLANES_KEPT", "WindowSums", "mean_planes"]

PLANES_KEPT = 2
"""So many planes that are finished stay valid: linear interpolation reads two."""

Shape = tuple[int, int, int]


class WindowSums:
    """The weighted sums of one net's logits, held as deep as a window and `PLANES_KEPT` more.

    ``compact``: in exact mode held in float16, in half the memory and several times the time.
    """

    def __init__(
        self,
        weights: MapWeights | ShareWeights,
        padded: Shape,
        depth: int,
        mode: Mode,
        *,
        compact: bool = False,
    ) -> None:
        self._weights, self._padded, self._exact = weights, padded, mode == "exact"
        # Exact mode's numbers are float16 numbers: they lose nothing, only time.
        self._compact = compact and self._exact
        self._depth, self._end = depth, 0
        self._ring: PlaneRing | None = None

    def begin(self, end: int) -> None:
        """Begin planes up to ``end``, excluded."""
        self._end = end
        if self._ring is not None:
            self._ring.extend(end)

    def add(self, start: Start, prediction: NDArray[Any]) -> None:
        """Add the prediction (classes, z, y, x) of a window."""
        if self._ring is None:
            # One more for the sum of weights.
            planes = len(prediction) + self._weights.summed
            self._ring = PlaneRing(
                self._depth + PLANES_KEPT,
                (planes, *self._padded[1:]),
                np.float16 if self._compact else np.float32,
            )
            self._ring.extend(self._end)
        rows, columns = (
            slice(k, k + n) for k, n in zip(start[1:], prediction.shape[2:], strict=True)
        )
        term, scratch = np.empty((2, *prediction.shape[2:]), dtype=np.float32)
        for k in range(prediction.shape[1]):
            target = self._ring[start[0] + k]
            weights = self._weights.plane(start, k)
            # A plane of one channel at a time stays in the processor's cache.
            for channel, plane in enumerate(prediction[:, k]):
                np.multiply(plane, weights, out=term)
                if self._exact and plane.dtype == np.float16:
                    round_to_half(term, scratch)
                self._add_term(target[channel, rows, columns], term, scratch)
            if self._weights.summed:
                self._add_term(target[-1, rows, columns], weights, scratch)

    def _add_term(
        self, target: NDArray[Any], term: NDArray[Any], scratch: NDArray[np.float32]
    ) -> None:
        if self._compact:
            np.add(target, term, out=scratch)
            with np.errstate(over="ignore"):
                target[...] = scratch
            return
        target += term
        if self._exact:
            round_to_half(target, scratch)

    def finish(self, z: int, head: Head | None) -> NDArray[np.float32]:
        """Return the mean logits (classes, y, x) of a plane that no further window reaches."""
        if self._ring is None:
            # Nothing counted so far: background, whatever the head.
            assert head is not None, "a full grid has windows in every row"
            return np.zeros((len(head.labels), *self._padded[1:]), dtype=np.float32)
        plane: NDArray[np.float32] = self._ring[z].astype(np.float32, copy=False)
        if not self._weights.summed:
            return plane
        logits, total = plane[:-1], plane[-1]
        # Where no window counted the logits are 0 and stay so.
        total[total == 0] = 1
        if self._exact:
            _refuse_overflow(logits)
        logits /= total
        if self._exact:
            round_to_half(logits, np.empty_like(logits))
            _refuse_overflow(logits)
        return logits


def mean_planes(planes: Sequence[NDArray[np.float32]], mode: Mode) -> NDArray[np.float32]:
    """Return the mean of the members' logits, in the place of the first."""
    mean = planes[0]
    if len(planes) == 1:
        return mean
    for plane in planes[1:]:
        mean += plane
        if mode == "exact":
            round_to_half(mean, np.empty_like(mean))
    mean /= len(planes)
    if mode == "exact":
        round_to_half(mean, np.empty_like(mean))
    return mean


def _refuse_overflow(values: NDArray[np.float32]) -> None:
    # Asked this way around, NaN is refused too.
    if not max(values.max(), -values.min()) <= LARGEST_HALF:
        raise RuntimeError("float16 sums overflowed in exact mode: run this model in fast mode")
