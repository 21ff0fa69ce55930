"""Voxels shuffled within small random blocks, all blocks at once.

The original draws 10 000 blocks one after another. Here space is cut along each axis into random
edges, some of the cells become blocks, and this is done a few times, later cuts going over earlier
ones. Sizes of blocks, the share of shuffled voxels and the reading from the unspoiled image are
kept; blocks of one cut share their borders, which those of the original do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flare_train.augment.random_fields import uniform_field
from flare_train.randomness import stream, stream_seed

__all__ = ["shuffled_places"]


def shuffled_places(
    shape: Sequence[int],
    *,
    divisor: int,
    coverage: float,
    layers: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return from which voxel each voxel is read.

    Parameters
    ----------
    shape : (3,) int
        Size of the image.
    divisor : int
        Edges of blocks are drawn evenly from 1 to size // divisor along each axis.
    coverage : float
        Share of the voxels that lie in a block of any cut, in [0, 1].
    layers : int
        Cuts, >= 1.
    seed : int
        Names the random numbers; they are the same on every device.
    device : torch.device or str, optional
        Where the places are made.

    Returns
    -------
    (n,) int32 tensor
        Index into the flat image. A block exchanges its voxels; what a later block goes over is
        lost from the earlier one.

    Notes
    -----
    Within a block a permutation is made of three steps along x, y and z, each of which turns every
    line in a circle by a number of voxels that is drawn for that line. Voxels that were neighbors
    are turned by different numbers in one of them.

    Examples
    --------
    >>> places = shuffled_places((1, 1, 6), divisor=2, coverage=1.0, layers=1, seed=0)
    >>> sorted(places.tolist())
    [0, 1, 2, 3, 4, 5]
    """
    share = 1 - (1 - coverage) ** (1 / layers)
    places = torch.arange(math.prod(shape), dtype=torch.int32, device=device)
    for layer in range(layers):
        name = stream_seed(seed, "layer", layer)
        axes = [_cut(size, divisor, seed=name, axis=axis) for axis, size in enumerate(shape)]
        cells = [len(axis.length) for axis in axes]
        chosen = uniform_field(cells, seed=stream_seed(name, "chosen"), device=device) < share
        for number, axis in enumerate(axes):
            chosen = chosen.index_select(number, torch.from_numpy(axis.cell).to(device))
        exchanged = _exchanged(axes, seed=name, device=device)
        places = torch.where(chosen.reshape(-1), exchanged, places)
    return places


@dataclass(frozen=True)
class _Axis:
    """An axis cut into cells: for each voxel its cell, and for each cell its begin and length."""

    cell: NDArray[np.int32]
    begin: NDArray[np.int32]
    length: NDArray[np.int32]


def _cut(size: int, divisor: int, *, seed: int, axis: int) -> _Axis:
    rng = stream(seed, "cut", axis)
    longest = max(size // divisor, 1)
    lengths = rng.integers(1, longest + 1, size)
    # The first cell begins before the border, so that none of them is special.
    ends = np.cumsum(lengths) - int(rng.integers(lengths[0]))
    ends = ends[: np.searchsorted(ends, size) + 1].clip(max=size).astype(np.int32)
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int32)
    cell = np.searchsorted(ends, np.arange(size), side="right").astype(np.int32)
    return _Axis(cell, begins, ends - begins)


def _exchanged(axes: Sequence[_Axis], *, seed: int, device: torch.device | str) -> Tensor:
    """Return the flat source of each voxel when every cell exchanges its voxels."""

    def along(values: NDArray[np.int32], axis: int) -> Tensor:
        view = tuple(-1 if k == axis else 1 for k in range(3))
        return torch.from_numpy(values).to(device).view(view)

    shape = [len(axis.cell) for axis in axes]
    at = [along(np.arange(size, dtype=np.int32), k) for k, size in enumerate(shape)]
    for moving in (2, 1, 0):
        axis = axes[moving]
        # A line is named by its cell along the moving axis and its place along the two others.
        names, sizes = list(at), list(shape)
        names[moving], sizes[moving] = along(axis.cell, moving), len(axis.length)
        drawn = uniform_field(sizes, seed=stream_seed(seed, "turn", moving), device=device)
        turns = drawn.mul_(along(axis.length, moving)).to(torch.int32).view(-1)
        lines = (names[0] * sizes[1] + names[1]) * sizes[2] + names[2]
        lines = lines.expand(*shape).reshape(-1)
        offset = turns.index_select(0, lines).view(*shape)
        begin = along(axis.begin[axis.cell], moving)
        length = along(axis.length[axis.cell], moving)
        # Past the end goes on at the begin: the sign of what is left says which have not passed.
        offset += at[moving] - begin - length
        offset += (offset >> 31).bitwise_and_(length)
        at[moving] = offset.add_(begin)
    return (at[0] * shape[1]).add_(at[1]).mul_(shape[2]).add_(at[2]).view(-1)
