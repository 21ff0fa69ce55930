"""Upsampling and decision in one kernel: logits of full size never exist.

Triton comes with torch's builds for CUDA; it is not a dependency, and without it
`flare_infer.device.decide_torch` does the same. The tests run the kernel in Triton's interpreter.
"""

from itertools import accumulate
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from flare_infer.device.grids import PlacedLogits, Tables
from flare_infer.heads import LARGEST_HALF_SIGMOID, Head

__all__ = ["OPTIONS", "KernelDecider"]

# As on the host a product is rounded before it is added; the kernel waits for memory anyway.
OPTIONS = {"enable_fp_fusion": False}

_VOXELS_AT_ONCE = 256


class KernelDecider:
    """The kernel with its tables: `flare_infer.device.decide_torch.decide_planes` on a GPU.

    Parameters
    ----------
    logits : PlacedLogits
    tables : three AxisTable
        Of the axes z, y, x, of width 1 or 2.
    head : Head

    Notes
    -----
    Compiled at the first call for a head and widths, whatever the sizes; Triton keeps it on the
    disk. Each voxel reads eight corners of each channel; neighbors share them in the cache.
    """

    def __init__(self, logits: PlacedLogits, tables: Tables, head: Head) -> None:
        values, box = logits.ring.values, logits.box
        device = values.device
        order = (*head.rivals, *head.painters)
        pairs = [(channel, head.labels[channel]) for channel in order]
        sizes = [each.operator.n_out for each in tables]
        counts = [each.weights.numel() for each in tables]
        # In a table, as numbers among the arguments would be compiled in when they are round.
        places = [
            sizes[1], sizes[2], *accumulate(sizes[:2]), *accumulate(counts[:2]),
            *box.start, *box.stop, *logits.offset, logits.ring.depth, *values.stride()[:3],
        ]  # fmt: skip
        self._plane = sizes[1] * sizes[2]
        self._arguments = (
            values,
            torch.cat([each.start for each in tables]),
            torch.cat([each.weights.reshape(-1) for each in tables]),
            torch.tensor(pairs, dtype=torch.int32).to(device),
            torch.tensor(places, dtype=torch.int64).to(device),
        )
        self._compiled_in = {
            "rivals": len(head.rivals),
            "painters": len(head.painters),
            "zero": head.zero,
            "least": float(LARGEST_HALF_SIGMOID) if head.by_sigmoid else 0.0,
            "z_taps": tables[0].operator.width,
            "y_taps": tables[1].operator.width,
            "x_taps": tables[2].operator.width,
            "block": _VOXELS_AT_ONCE,
        }

    def __call__(self, first: int, labels: Tensor) -> None:
        """Write the labels (planes, y, x) of the result from plane ``first`` on."""
        grid = (triton.cdiv(self._plane, _VOXELS_AT_ONCE), len(labels))
        _kernel[grid](*self._arguments, labels, first, **self._compiled_in, **OPTIONS)


# A kernel takes its tables one by one, and each number that is compiled in. Its compiler looks up
# the names of its annotations: they must be Triton's, and no strings.
def _decide(
    logits: tl.tensor,
    starts: tl.tensor,
    weights: tl.tensor,
    channels: tl.tensor,
    places: tl.tensor,
    labels: tl.tensor,
    first: tl.tensor,
    rivals: tl.constexpr,
    painters: tl.constexpr,
    zero: tl.constexpr,
    least: tl.constexpr,
    z_taps: tl.constexpr,
    y_taps: tl.constexpr,
    x_taps: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Decide a block of voxels of one plane; the order of ``places`` is `KernelDecider`'s."""
    rows, columns = tl.load(places), tl.load(places + 1)
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    here = at < rows * columns
    z, y, x = first + tl.program_id(1), at // columns, at % columns
    corner, shares = _corner(starts, weights, places, z, y, x, here, z_taps, y_taps, x_taps)
    best = tl.full([block], 0.0, tl.float32)
    if not zero:
        best += float("-inf")
    label = tl.full([block], 0, tl.int32)
    for k in range(rivals):
        base = logits + tl.load(channels + 2 * k) * tl.load(places + 16)
        value = _interpolated(base, corner, shares, places, here, z_taps, y_taps, x_taps, block)
        label = tl.where(value > best, tl.load(channels + 2 * k + 1), label)
        best = tl.maximum(best, value)
    for k in range(rivals, rivals + painters):
        base = logits + tl.load(channels + 2 * k) * tl.load(places + 16)
        value = _interpolated(base, corner, shares, places, here, z_taps, y_taps, x_taps, block)
        label = tl.where(value > least, tl.load(channels + 2 * k + 1), label)
    target = labels + tl.program_id(1) * rows * columns + at
    tl.store(target, label.to(labels.dtype.element_ty), mask=here)


def _first_corner(
    starts: tl.tensor,
    weights: tl.tensor,
    places: tl.tensor,
    z: tl.tensor,
    y: tl.tensor,
    x: tl.tensor,
    here: tl.tensor,
    z_taps: tl.constexpr,
    y_taps: tl.constexpr,
    x_taps: tl.constexpr,
) -> Any:
    """Return the first corner of each voxel's cell and the weights of both along each axis."""
    y_starts, x_starts = starts + tl.load(places + 2), starts + tl.load(places + 3)
    corner = (
        tl.load(starts + z),
        tl.load(y_starts + y, mask=here, other=0),
        tl.load(x_starts + x, mask=here, other=0),
    )
    z_weights = weights + z * z_taps
    y_weights = weights + tl.load(places + 4) + y * y_taps
    x_weights = weights + tl.load(places + 5) + x * x_taps
    # Of width 1 the second is the first again, and is not used.
    shares = (
        tl.load(z_weights),
        tl.load(z_weights + z_taps - 1),
        tl.load(y_weights, mask=here, other=0.0),
        tl.load(y_weights + y_taps - 1, mask=here, other=0.0),
        tl.load(x_weights, mask=here, other=0.0),
        tl.load(x_weights + x_taps - 1, mask=here, other=0.0),
    )
    return corner, shares


def _value(
    base: tl.tensor,
    corner: tl.tensor,
    shares: tl.tensor,
    places: tl.tensor,
    here: tl.tensor,
    z_taps: tl.constexpr,
    y_taps: tl.constexpr,
    x_taps: tl.constexpr,
    block: tl.constexpr,
) -> Any:
    """Return one channel's logits, interpolated along z, then x, then y; 0 outside the box."""
    depth = tl.load(places + 15)
    slot_stride, row_stride = tl.load(places + 17), tl.load(places + 18)
    total = tl.full([block], 0.0, tl.float32)
    for down in tl.static_range(y_taps):
        row = corner[1] + down
        row_there = here & (row >= tl.load(places + 7)) & (row < tl.load(places + 10))
        line = tl.full([block], 0.0, tl.float32)
        for right in tl.static_range(x_taps):
            column = corner[2] + right
            there = row_there & (column >= tl.load(places + 8)) & (column < tl.load(places + 11))
            voxel = (row + tl.load(places + 13)) * row_stride + column + tl.load(places + 14)
            value = tl.full([block], 0.0, tl.float32)
            for behind in tl.static_range(z_taps):
                plane = corner[0] + behind
                share = tl.where(plane < tl.load(places + 6), 0.0, shares[behind])
                share = tl.where(plane < tl.load(places + 9), share, 0.0)
                # Planes outside the box count nothing, whatever lies in their slot.
                slot = ((plane + tl.load(places + 12)) % depth + depth) % depth
                place = base + slot * slot_stride + voxel
                value += share * tl.load(place, mask=there, other=0.0)
            line += shares[4 + right] * value
        total += shares[2 + down] * line
    return total


_corner: Any = triton.jit(_first_corner)
_interpolated: Any = triton.jit(_value)
_kernel: Any = triton.jit(_decide, do_not_specialize=["first"])
