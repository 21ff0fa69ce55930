"""One axis of a resampling as a banded matrix, the cubic spline's prefilter included.

Voxel ``k`` of ``n_out`` samples the input at ``(k + 0.5) * n_in / n_out - 0.5``: the fields of view
coincide, not the corner voxels. Outside, the edge value continues. Nothing is smoothed before it is
made smaller. This is the convention of scikit-image's ``resize``, which nnU-Net uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AxisOperator", "axis_operator", "row_blocks"]

# scipy continues the edge by twelve voxels before it fits a cubic spline, with mirrored ends behind
# them.
_SPLINE_PAD = 12
_SPLINE_POLE = np.sqrt(3.0) - 2.0
# The pole's 28th power is 1e-16: what lies farther away does not reach float64.
_SPLINE_REACH = 28
# Output rows per matrix product. Fewer: thinner products; more: more zeros of the band multiplied.
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class AxisOperator:
    """The banded matrix that resamples one axis.

    Output ``k`` is the sum over ``j`` of ``weights[k, j] * input[start[k] + j]``.

    Parameters
    ----------
    n_in, n_out : int
        Length of the axis before and after.
    start : (n_out,) int array
        First input voxel of each row, never decreasing; ``start + width <= n_in``.
    weights : (n_out, width) float64 array
        Each row sums to 1. Width 1 (all weights 1) is a pure selection.

    Examples
    --------
    >>> axis_operator(2, 4, order=1).matrix().tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """

    n_in: int
    n_out: int
    start: NDArray[np.intp]
    weights: NDArray[np.float64]

    @property
    def width(self) -> int:
        """Number of input voxels that one output voxel reads."""
        return int(self.weights.shape[1])

    @property
    def is_identity(self) -> bool:
        """Whether applying changes nothing."""
        return self.n_in == self.n_out and self.width == 1

    def matrix(self) -> NDArray[np.float64]:
        """Return the dense (n_out, n_in) matrix."""
        start, stop, block = self.rows(0, self.n_out)
        return np.pad(block, ((0, 0), (start, self.n_in - stop)))

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Return the input voxels, stop excluded, that rows ``first`` to ``last`` read."""
        return int(self.start[first]), int(self.start[last - 1]) + self.width

    def rows(self, first: int, last: int) -> tuple[int, int, NDArray[np.float64]]:
        """Return rows ``first`` to ``last`` as the dense block of input columns that they read.

        Returns
        -------
        start, stop : int
            The input voxels that these rows read, stop excluded.
        block : (last - first, stop - start) float64 array
        """
        start, stop = self.reach(first, last)
        block = np.zeros((last - first, stop - start))
        columns = self.start[first:last, None] - start + np.arange(self.width)
        np.put_along_axis(block, columns, self.weights[first:last], axis=1)
        return start, stop, block

    def apply(self, array: NDArray[Any], *, axis: int) -> NDArray[Any]:
        """Return the floating-point array resampled along one axis, computed in its own type."""
        if array.shape[axis] != self.n_in:
            raise ValueError(f"axis {axis} must have length {self.n_in}, got shape {array.shape}")
        if self.width == 1:
            return array if self.is_identity else array.take(self.start, axis=axis)
        axis %= array.ndim
        before = int(np.prod(array.shape[:axis]))
        after = int(np.prod(array.shape[axis + 1 :]))
        result = np.empty((*array.shape[:axis], self.n_out, *array.shape[axis + 1 :]), array.dtype)
        source = array.reshape(before, self.n_in, after)
        target = result.reshape(before, self.n_out, after)
        for first, last in row_blocks(self.n_out):
            start, stop, block = self.rows(first, last)
            block = block.astype(array.dtype, copy=False)
            if after == 1:
                np.matmul(source[:, start:stop, 0], block.T, out=target[:, first:last, 0])
            else:
                np.matmul(block, source[:, start:stop], out=target[:, first:last])
        return result


def axis_operator(n_in: int, n_out: int, order: int) -> AxisOperator:
    """Return the operator that resamples an axis of ``n_in`` voxels to ``n_out``.

    Parameters
    ----------
    n_in, n_out : int
        At least 1.
    order : {0, 1, 3}
        Nearest voxel, linear, cubic B-spline with prefilter.

    Returns
    -------
    AxisOperator
        Equal lengths give the identity. Cached, so its arrays are read-only.

    Raises
    ------
    ValueError
        If a length is below 1 or the order is another one.

    Notes
    -----
    Equal to ``scipy.ndimage.zoom(..., mode="nearest", grid_mode=True)`` to about 1e-13 of the
    largest input value. The cubic spline's coefficients are the input convolved with ``sqrt(3) *
    pole**abs(k)``, pole ``sqrt(3) - 2``; cutting it at 28 voxels leaves an error below float64's.

    References
    ----------
    M. Unser, A. Aldroubi, M. Eden, "B-spline signal processing", IEEE Trans. Signal Processing 41
    (1993).

    Examples
    --------
    >>> axis_operator(6, 3, order=0).start.tolist()
    [1, 3, 5]
    """
    if n_in < 1 or n_out < 1:
        raise ValueError(f"n_in and n_out must be at least 1, got {n_in} and {n_out}")
    if order not in (0, 1, 3):
        raise ValueError(f"order must be 0, 1 or 3, got {order}")
    return _axis_operator(int(n_in), int(n_out), int(order))


def row_blocks(length: int) -> Iterator[tuple[int, int]]:
    """Yield first and last (excluded) of the row blocks that are computed as one matrix product."""
    return ((first, min(first + _BLOCK, length)) for first in range(0, length, _BLOCK))


@lru_cache(maxsize=64)
def _axis_operator(n_in: int, n_out: int, order: int) -> AxisOperator:
    if n_in == n_out:
        start, weights = np.arange(n_in), np.ones((n_in, 1))
    else:
        # The order of these operations is scipy's: at exact halves it decides which voxel is the
        # nearest.
        position = (np.arange(n_out, dtype=np.float64) + 0.5) * (n_in / n_out) - 0.5
        start, weights = _ROWS[order](position, n_in)
    start = np.ascontiguousarray(start, dtype=np.intp)
    for array in (start, weights):
        array.flags.writeable = False
    return AxisOperator(n_in, n_out, start, weights)


def _nearest_rows(
    position: NDArray[np.float64], n_in: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    start = np.floor(np.clip(position, 0, n_in - 1) + 0.5).astype(np.intp)
    return start, np.ones((len(position), 1))


def _linear_rows(
    position: NDArray[np.float64], n_in: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    position = np.clip(position, 0, n_in - 1)
    low = np.floor(position).astype(np.intp)
    share = position - low
    taps = np.stack([low, low + 1], axis=1)
    return _banded(np.minimum(taps, n_in - 1), np.stack([1.0 - share, share], axis=1), n_in)


def _cubic_rows(
    position: NDArray[np.float64], n_in: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    low = np.floor(position).astype(np.intp)
    right = position - low
    left = 1.0 - right
    bspline = np.stack(
        [
            left**3 / 6,
            (right * right * (right - 2) * 3 + 4) / 6,
            (left * left * (left - 2) * 3 + 4) / 6,
            right**3 / 6,
        ],
        axis=1,
    )
    reach = np.arange(-_SPLINE_REACH, _SPLINE_REACH + 1)
    prefilter = np.sqrt(3.0) * _SPLINE_POLE ** np.abs(reach)
    # Axes: output row, one of four spline coefficients, one of the voxels that the coefficient is
    # made of.
    taps = low[:, None, None] + np.arange(-1, 3)[:, None] + reach
    weights = bspline[:, :, None] * prefilter
    padded = n_in + 2 * _SPLINE_PAD
    period = 2 * (padded - 1)
    taps = np.mod(taps + _SPLINE_PAD, period)
    taps = np.where(taps >= padded, period - taps, taps) - _SPLINE_PAD
    rows = len(position)
    return _banded(np.clip(taps, 0, n_in - 1).reshape(rows, -1), weights.reshape(rows, -1), n_in)


_ROWS = {0: _nearest_rows, 1: _linear_rows, 3: _cubic_rows}


def _banded(
    taps: NDArray[np.intp], weights: NDArray[np.float64], n_in: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Collect weights (rows, taps) of input voxels, repeats added up, into rows of one width."""
    first = taps.min(axis=1)
    width = min(n_in, int((taps.max(axis=1) - first).max()) + 1)
    start = np.minimum(first, n_in - width)
    band = np.zeros((len(taps), width))
    np.add.at(band, (np.arange(len(taps))[:, None], taps - start[:, None]), weights)
    return start, band
