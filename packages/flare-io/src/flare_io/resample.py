"""Volumes on another grid, in the convention of scikit-image's ``resize`` that nnU-Net uses.

Voxel ``k`` of ``n_out`` samples the input at ``(k + 0.5) * n_in / n_out - 0.5``: the fields of view
coincide, not the corner voxels. Outside, the edge value continues. Nothing is smoothed before it is
made smaller.

Such a resampling is linear and separable: one banded matrix per axis (`axis_operator`), the cubic
spline's prefilter included. Here each is applied as a handful of dense matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "AxisOperator",
    "axis_operator",
    "resample_image",
    "resample_labels",
    "separate_axis",
    "target_shape",
]

# scipy continues the edge by twelve voxels before it fits a cubic spline, with mirrored ends behind
# them.
_SPLINE_PAD = 12
_SPLINE_POLE = np.sqrt(3.0) - 2.0
# The pole's 28th power is 1e-16: what lies farther away does not reach float64.
_SPLINE_REACH = 28
# Output rows per matrix product. Fewer: thinner products; more: more zeros of the band multiplied.
_BLOCK = 32
_TIE = 1e-9


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
        return self.rows(0, self.n_out)[2]

    def rows(self, first: int, last: int) -> tuple[int, int, NDArray[np.float64]]:
        """Return rows ``first`` to ``last`` as the dense block of input columns that they read.

        Returns
        -------
        start, stop : int
            The input voxels that these rows read, stop excluded; all of them where all rows are
            asked for.
        block : (last - first, stop - start) float64 array
        """
        whole = (first, last) == (0, self.n_out)
        start = 0 if whole else int(self.start[first])
        stop = self.n_in if whole else int(self.start[last - 1]) + self.width
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
        before = int(np.prod(array.shape[:axis]))
        after = int(np.prod(array.shape[axis + 1 :]))
        result = np.empty((*array.shape[:axis], self.n_out, *array.shape[axis + 1 :]), array.dtype)
        source = array.reshape(before, self.n_in, after)
        target = result.reshape(before, self.n_out, after)
        for first, last in _blocks(self.n_out, _BLOCK):
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
    Equal to ``scipy.ndimage.zoom(..., mode="nearest", grid_mode=True)`` to about 1e-14 of the
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


def resample_image(
    array: NDArray[Any],
    shape: Sequence[int],
    *,
    order: int,
    separate_axis: int | None = None,
    order_separate: int = 0,
    compute_dtype: DTypeLike = np.float64,
) -> NDArray[Any]:
    """Return an image resampled to a shape, with the result clipped to the input's range.

    Parameters
    ----------
    array : (z, y, x) array
        Finite values. Not modified.
    shape : (3,) int
        Shape wanted.
    order : {0, 1, 3}
        Nearest, linear, cubic spline.
    separate_axis : int, optional
        Resample the planes across this axis with ``order``, each clipped to its own range, and the
        axis itself with ``order_separate``, unclipped: nnU-Net's way with thick slices. See
        `separate_axis`.
    order_separate : {0, 1, 3}
        Order along ``separate_axis``.
    compute_dtype : float64 or float32
        Type of the arithmetic. float32 is about twice as fast and right to about 1e-6 of the
        input's range.

    Returns
    -------
    (z, y, x) array
        In the input's floating-point type, float32 for integers. With an equal shape the values are
        unchanged, and a floating-point array is returned itself.

    Raises
    ------
    ValueError
        If the array is not (z, y, x), the shape not positive, or an order unknown.

    Notes
    -----
    In float64 equal to ``skimage.transform.resize(array, shape, order, mode="edge",
    anti_aliasing=False)`` to about 1e-13 of the input's range, before the cast to the result's
    type.

    Cost: per output voxel and axis about ``32 * n_in / n_out + 60`` multiplications for order 3, in
    matrix products. Beyond the result it holds about 100 (order 3) or 35 (order 1) resampled
    planes, however long the scan.

    Examples
    --------
    >>> ramp = np.arange(4, dtype=np.float32).reshape(1, 1, 4)
    >>> resample_image(ramp, (1, 1, 2), order=1).ravel().tolist()
    [0.5, 2.5]
    """
    new_shape = _checked_shape(array, shape)
    result_dtype = array.dtype if np.issubdtype(array.dtype, np.floating) else np.dtype(np.float32)
    if array.shape == new_shape:
        return array.astype(result_dtype, copy=False)
    axis = 0 if separate_axis is None else separate_axis
    if axis not in (0, 1, 2):
        raise ValueError(f"separate_axis must be None, 0, 1 or 2, got {separate_axis}")
    source = np.moveaxis(array, axis, 0)
    result = np.empty(new_shape, dtype=result_dtype)
    target = np.moveaxis(result, axis, 0)
    sizes = list(zip(source.shape, target.shape, strict=True))
    orders = (order if separate_axis is None else order_separate, order, order)
    along, rows, columns = (axis_operator(*size, o) for size, o in zip(sizes, orders, strict=True))
    dtype = np.dtype(compute_dtype)
    clip = None
    if separate_axis is None and order > 1:
        clip = (dtype.type(source.min()), dtype.type(source.max()))
    clip_planes = separate_axis is not None and order > 1
    _stream(source, target, (along, rows, columns), dtype=dtype, clip=clip, clip_planes=clip_planes)
    return result


def resample_labels(
    array: NDArray[Any],
    shape: Sequence[int],
    *,
    rule: Literal["nearest", "linear"] = "nearest",
    separate_axis: int | None = None,
) -> NDArray[Any]:
    """Return a label map resampled to a shape; no label arises that was not there.

    Parameters
    ----------
    array : (z, y, x) integer or bool array
        Not modified.
    shape : (3,) int
        Shape wanted.
    rule : {"nearest", "linear"}
        ``nearest``: the nearest voxel's label. ``linear``: each label's mask is interpolated
        linearly, the largest share wins; where shares are equal the nearest voxel's label, if it is
        one of them, else the smallest. Smoother, and what nnU-Net does to training labels.
    separate_axis : int, optional
        For ``linear``: nearest along this axis, linear across it.

    Returns
    -------
    (z, y, x) array
        Of the input's type.

    Notes
    -----
    ``linear`` is the rule of nnU-Net 2.8 with batchgenerators 0.25.5, where shares within 1e-9
    count as equal, so that the rounding of the weights does not decide. It costs a few passes over
    the result and a decision at the few percent of voxels whose eight corners differ.

    Examples
    --------
    >>> labels = np.array([[[0, 0, 5, 5]]], dtype=np.uint8)
    >>> resample_labels(labels, (1, 1, 8)).ravel().tolist()
    [0, 0, 0, 0, 5, 5, 5, 5]
    """
    new_shape = _checked_shape(array, shape)
    if array.shape == new_shape:
        return array
    sizes = list(zip(array.shape, new_shape, strict=True))
    nearest = [axis_operator(*size, 0) for size in sizes]
    chosen = array[np.ix_(*(operator.start for operator in nearest))]
    if rule == "nearest":
        return chosen
    if rule != "linear":
        raise ValueError(f"rule must be 'nearest' or 'linear', got {rule!r}")
    operators = [
        nearest[axis] if axis == separate_axis else axis_operator(*size, 1)
        for axis, size in enumerate(sizes)
    ]
    return _largest_share(array, chosen, operators)


def separate_axis(
    spacing_from: ArrayLike, spacing_to: ArrayLike, *, threshold: float = 3.0
) -> int | None:
    """Return the axis that nnU-Net would resample on its own, or None.

    Parameters
    ----------
    spacing_from, spacing_to : (3,) float
        Spacing of the array and of the result, in mm.
    threshold : float
        A spacing counts as anisotropic when its largest value exceeds this many times its smallest.

    Returns
    -------
    int or None
        The coarsest axis of ``spacing_from`` if that is anisotropic, else of ``spacing_to``; None
        where neither is, or where two axes share the largest spacing.

    Examples
    --------
    >>> separate_axis((5.0, 0.8, 0.8), (2.5, 0.8, 0.8))
    0
    >>> separate_axis((2.5, 0.8, 0.8), (4.0, 1.2, 1.2), threshold=3.5) is None
    True
    """
    for spacing in (np.asarray(spacing_from, float), np.asarray(spacing_to, float)):
        if spacing.max() / spacing.min() > threshold:
            coarsest = np.flatnonzero(spacing == spacing.max())
            return int(coarsest[0]) if len(coarsest) == 1 else None
    return None


def target_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], new_spacing_mm: Sequence[float]
) -> tuple[int, int, int]:
    """Return the number of voxels that cover the same field at another spacing, at least 1.

    ``round(old / new * n)`` per axis, halves to the even number, as nnU-Net computes it.

    Examples
    --------
    >>> target_shape((300, 512, 512), (2.5, 0.8, 0.8), (3.0, 1.5, 1.5))
    (250, 273, 273)
    """
    z, y, x = (
        max(1, round(float(old) / float(new) * int(n)))
        for n, old, new in zip(shape, spacing_mm, new_spacing_mm, strict=True)
    )
    return z, y, x


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


def _stream(
    source: NDArray[Any],
    target: NDArray[Any],
    operators: tuple[AxisOperator, AxisOperator, AxisOperator],
    *,
    dtype: np.dtype[Any],
    clip: tuple[Any, Any] | None,
    clip_planes: bool,
) -> None:
    """Fill the target block by block along its first axis, keeping only the planes still needed."""
    along, rows, columns = operators
    # Whichever of the two in-plane axes shrinks more goes first: the other then has less to do.
    rows_first = rows.n_out * columns.n_in <= rows.n_in * columns.n_out

    def in_plane(first: int, last: int) -> NDArray[Any]:
        planes = source[first:last].astype(dtype)
        limits = (planes.min((1, 2), keepdims=True), planes.max((1, 2), keepdims=True))
        if rows_first:
            planes = columns.apply(rows.apply(planes, axis=1), axis=2)
        else:
            planes = rows.apply(columns.apply(planes, axis=2), axis=1)
        return np.clip(planes, *limits) if clip_planes else planes

    kept = np.empty((0, rows.n_out, columns.n_out), dtype)
    kept_from = 0
    for first, last in _blocks(along.n_out, _BLOCK):
        start, stop, block = along.rows(first, last)
        kept = kept[max(0, start - kept_from) :]
        kept_from = max(kept_from, start)
        new = [
            in_plane(a, min(a + 4, stop)) for a in range(max(start, kept_from + len(kept)), stop, 4)
        ]
        kept = np.concatenate([kept, *new])
        if along.width == 1:
            result = kept[along.start[first:last] - start]
        else:
            flat = kept.reshape(len(kept), -1)
            result = (block.astype(dtype, copy=False) @ flat).reshape(-1, *kept.shape[1:])
        if clip is not None:
            np.clip(result, *clip, out=result)
        target[first:last] = result


def _largest_share(
    array: NDArray[Any], nearest: NDArray[Any], operators: Sequence[AxisOperator]
) -> NDArray[Any]:
    """Return each voxel's label of the largest interpolated share, ties to the nearest voxel's."""
    taps = [_two_taps(operator) for operator in operators]
    low = high = array
    for axis, (positions, _) in enumerate(taps):
        first, second = positions.T
        low = np.minimum(low.take(first, axis=axis), low.take(second, axis=axis))
        high = np.maximum(high.take(first, axis=axis), high.take(second, axis=axis))
    # Where all corners agree the nearest voxel is one of them: only the others, a few percent, are
    # worked out.
    mixed = np.flatnonzero(low != high)
    del low, high
    result = np.ascontiguousarray(nearest)
    flat = result.reshape(-1)
    for first, last in _blocks(len(mixed), 2**17):
        voxels = mixed[first:last]
        flat[voxels] = _decide(array, flat[voxels], np.unravel_index(voxels, result.shape), taps)
    return result


def _two_taps(operator: AxisOperator) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Positions and weights (n_out, 2), a missing second tap repeated with weight 0."""
    positions = operator.start[:, None] + np.array([0, operator.width - 1])
    weights = np.zeros((operator.n_out, 2))
    weights[:, : operator.width] = operator.weights
    return positions, weights


def _decide(
    array: NDArray[Any],
    nearest: NDArray[Any],
    voxels: tuple[NDArray[np.intp], ...],
    taps: Sequence[tuple[NDArray[np.intp], NDArray[np.float64]]],
) -> NDArray[Any]:
    """Return the winning labels of a list of output voxels, from the eight corners of each."""
    (z, wz), (y, wy), (x, wx) = (
        (positions[index], weights[index])
        for index, (positions, weights) in zip(voxels, taps, strict=True)
    )
    corners = array[z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]].reshape(-1, 8)
    weights = (wz[:, :, None, None] * wy[:, None, :, None] * wx[:, None, None, :]).reshape(-1, 8)
    same = corners[:, :, None] == corners[:, None, :]
    share = np.einsum("nij,nj->ni", same, weights)
    tied = share > share.max(axis=1, keepdims=True) - _TIE
    nearest_ties = (tied & (corners == nearest[:, None])).any(axis=1)
    smallest = np.where(tied, corners, corners.max(axis=1, keepdims=True)).min(axis=1)
    return np.where(nearest_ties, nearest, smallest)


def _blocks(length: int, size: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + size, length)) for first in range(0, length, size))


def _checked_shape(array: NDArray[Any], shape: Sequence[int]) -> tuple[int, int, int]:
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"array must be (z, y, x) with voxels, got shape {array.shape}")
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be three positive numbers (z, y, x), got {tuple(shape)}")
    z, y, x = (int(n) for n in shape)
    return z, y, x
