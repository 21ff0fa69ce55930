"""Where a U-Net shrinks and how far its kernels reach, from patch and spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flare_nets.config import Size

__all__ = ["Topology", "plan_topology"]

# Edge, in voxels, below which the bottleneck is not to fall.
_MIN_EDGE = 4


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Kernels and strides of the encoder, finest first, and the patch they were made for.

    Attributes
    ----------
    patch : (3,) int
        Rounded up to a multiple of `divisor`.
    kernels, strides : (n, 3) int
        As in `flare_nets.NetConfig`: a stride leads into its stage, the first is (1, 1, 1).
    """

    patch: Size
    kernels: tuple[Size, ...]
    strides: tuple[Size, ...]

    @property
    def stages(self) -> int:
        """Number of resolutions, the bottleneck included."""
        return len(self.strides)

    @property
    def divisor(self) -> Size:
        """Product of the strides."""
        z, y, x = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return z, y, x


def plan_topology(
    patch: Sequence[float], spacing_mm: Sequence[float], *, max_stages: int | None = None
) -> Topology:
    """Return nnU-Net's topology for a patch.

    Parameters
    ----------
    patch : (3,) float
        Size (z, y, x) in voxels, > 0; a median shape may hold halves.
    spacing_mm : (3,) float
        Spacing of those voxels, > 0.
    max_stages : int, optional
        Stop at so many resolutions, as S1's Swift and the small net of FLARE 2022 do.

    Returns
    -------
    Topology
        With one stage where no axis is long enough to be halved.

    Notes
    -----
    A step halves every axis that has at least 8 voxels left and whose spacing by then is less than
    twice the smallest among such axes; an axis alone needs 12. A kernel is 1 along an axis until
    its spacing comes within a factor of two of the smallest, then 3; the bottleneck has 3
    everywhere. Isensee et al., Nature Methods 2021, supplement, "Architecture topology".

    Examples
    --------
    >>> found = plan_topology((28, 256, 256), (5.0, 1.25, 1.25))
    >>> found.strides
    ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
    >>> found.kernels[:3], found.patch
    (((1, 3, 3), (1, 3, 3), (3, 3, 3)), (28, 256, 256))
    """
    size, spacing = [float(edge) for edge in patch], [float(length) for length in spacing_mm]
    if len(size) != 3 or min(size) <= 0:
        raise ValueError(f"patch must be three sizes > 0, got {tuple(patch)}")
    if len(spacing) != 3 or min(spacing) <= 0:
        raise ValueError(f"spacing_mm must be three lengths > 0, got {tuple(spacing_mm)}")
    kernel = [1, 1, 1]
    kernels: list[Size] = []
    strides: list[Size] = [(1, 1, 1)]
    while max_stages is None or len(strides) < max_stages:
        halved = _axes_to_halve(size, spacing)
        if not halved:
            break
        kernel = [3 if spacing[axis] / min(spacing) < 2 else kernel[axis] for axis in range(3)]
        kernels.append((kernel[0], kernel[1], kernel[2]))
        for axis in halved:
            spacing[axis] *= 2
            size[axis] = math.ceil(size[axis] / 2)
        z, y, x = (2 if axis in halved else 1 for axis in range(3))
        strides.append((z, y, x))
    kernels.append((3, 3, 3))
    steps = [math.prod(stride[axis] for stride in strides) for axis in range(3)]
    z, y, x = (math.ceil(edge / step) * step for edge, step in zip(patch, steps, strict=True))
    return Topology(patch=(z, y, x), kernels=tuple(kernels), strides=tuple(strides))


def _axes_to_halve(size: Sequence[float], spacing: Sequence[float]) -> list[int]:
    long_enough = [axis for axis in range(3) if size[axis] >= 2 * _MIN_EDGE]
    if not long_enough:
        return []
    finest = min(spacing[axis] for axis in long_enough)
    halved = [axis for axis in long_enough if spacing[axis] / finest < 2]
    if len(halved) == 1 and size[halved[0]] < 3 * _MIN_EDGE:
        return []
    return halved
