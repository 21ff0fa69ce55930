"""Where the windows of a sliding-window pass lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, get_args

__all__ = [
    "Layout",
    "Shape",
    "Start",
    "WindowPlan",
    "three_starts",
    "window_starts",
]

Shape = tuple[int, int, int]
Start = tuple[int, int, int]
Layout = Literal["grid", "flare22"]


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """Size and spacing of the windows.

    Parameters
    ----------
    patch : (3,) int
        Size of a window in voxels (z, y, x) of the network's grid.
    step : float
        Distance of neighboring windows as a share of the window, in (0, 1].
    mirror_axes : tuple of int
        Axes (0 = z) along which the net was trained with mirrored input; test-time augmentation
        averages over all their combinations.
    layout : {"grid", "flare22"}
        ``grid``: windows cover everything. ``flare22``: along z the same, in the plane the three by
        three of `three_starts`, and what the middle window of a row shows decides whether the
        others and the next row are looked at, see `flare_infer.flare22`. It leaves the rim of a
        wide image out, and rows it finds empty: background is written there.
    skip_below : int
        For ``flare22``: a middle window with fewer voxels of foreground drops its row and the next.
    tube_labels : tuple of int
        For ``flare22``: where a middle window holds no other label, only its neighbors in front and
        behind are looked at, and only if ...
    face_above : int
        ... more voxels of foreground than this lie on the face towards them.

    Examples
    --------
    >>> plan = WindowPlan(patch=(4, 4, 4))
    >>> plan.starts((6, 4, 4))
    [(0, 0, 0), (2, 0, 0)]
    """

    patch: Shape
    step: float = 0.5
    mirror_axes: tuple[int, ...] = ()
    layout: Layout = "grid"
    skip_below: int = 1000
    tube_labels: tuple[int, ...] = (5, 6, 10)
    face_above: int = 10

    def __post_init__(self) -> None:
        patch = tuple(int(side) for side in self.patch)
        axes = tuple(int(axis) for axis in self.mirror_axes)
        if len(patch) != 3 or min(patch) < 1:
            raise ValueError(f"patch must be three positive sizes (z, y, x), got {self.patch}")
        if not 0 < self.step <= 1:
            raise ValueError(f"step must be in (0, 1], got {self.step}")
        if len(set(axes)) != len(axes) or not set(axes) <= {0, 1, 2}:
            raise ValueError(f"mirror_axes must be different axes of 0, 1, 2, got {axes}")
        if self.layout not in get_args(Layout):
            raise ValueError(f"layout must be grid or flare22, got {self.layout!r}")
        if self.skip_below < 0 or self.face_above < 0:
            raise ValueError(
                f"skip_below and face_above must be at least 0, "
                f"got {self.skip_below} and {self.face_above}"
            )
        object.__setattr__(self, "tube_labels", tuple(int(label) for label in self.tube_labels))
        object.__setattr__(self, "patch", patch)
        object.__setattr__(self, "mirror_axes", axes)

    def padded_shape(self, shape: Sequence[int]) -> Shape:
        """Return the shape after padding to at least one window."""
        z, y, x = (max(n, side) for n, side in zip(shape, self.patch, strict=True))
        return z, y, x

    def starts(self, shape: Sequence[int]) -> list[Shape]:
        """Return the first voxel of every window over a padded shape, z outermost.

        With the layout ``flare22`` these are all that may be looked at.
        """
        z, y, x = self.axis_starts(shape)
        return list(product(z, dict.fromkeys(y), dict.fromkeys(x)))

    def axis_starts(self, shape: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Return where windows start along each axis of a padded shape."""
        z, y, x = (
            window_starts(n, side, step=self.step)
            if axis == 0 or self.layout == "grid"
            else three_starts(n, side)
            for axis, (n, side) in enumerate(zip(shape, self.patch, strict=True))
        )
        return z, y, x

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        return {
            "patch": list(self.patch),
            "step": self.step,
            "mirror_axes": list(self.mirror_axes),
            "layout": self.layout,
            "skip_below": self.skip_below,
            "tube_labels": list(self.tube_labels),
            "face_above": self.face_above,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> WindowPlan:
        """Return the plan of a dict made by `to_dict`; later fields may be missing."""
        plan = cls(
            patch=tuple(fields["patch"]),
            step=float(fields["step"]),
            mirror_axes=tuple(fields["mirror_axes"]),
        )
        later = ("layout", "skip_below", "tube_labels", "face_above")
        return replace(plan, **{name: fields[name] for name in later if name in fields})


def window_starts(length: int, window: int, *, step: float) -> list[int]:
    """Return where windows start along one axis: evenly, first at 0, last flush with the end.

    The rule of nnU-Net: as few windows as reach from end to end with steps of at most
    ``step * window``, at rounded even distances (halves to the even number).

    Parameters
    ----------
    length, window : int
        Voxels of the axis and of the window; ``length >= window``.
    step : float
        In (0, 1].

    Examples
    --------
    >>> window_starts(110, 64, step=0.5)
    [0, 23, 46]
    """
    if length < window:
        raise ValueError(f"length must be at least the window, got {length} < {window}")
    free = length - window
    count = math.ceil(free / (window * step)) + 1
    if count == 1:
        return [0]
    # Multiplied in this order, as nnU-Net does: the rounding of halves depends on it.
    distance = free / (count - 1)
    return [round(distance * k) for k in range(count)]


def three_starts(length: int, window: int) -> list[int]:
    """Return three starts along an axis, which cover the middle two windows of a long one.

    Above twice the window: half a window apart around the center, the ends left out. Up to that:
    evenly from end to end. No longer than the window: three times 0.

    References
    ----------
    The efficient sliding window of the winner of FLARE 2022, Z. Huang et al., "Revisiting nnU-Net
    for iterative pseudo labeling and efficient sliding window inference" (2023).

    Examples
    --------
    >>> three_starts(341, 128), three_starts(200, 128), three_starts(128, 128)
    ([42, 106, 170], [0, 36, 72], [0, 0, 0])
    """
    if length < window:
        raise ValueError(f"length must be at least the window, got {length} < {window}")
    if length > 2 * window:
        center = length // 2
        return [center - window, center - window // 2, center]
    return [round((length - window) / 2 * k) for k in range(3)]
