"""Logits of a case from windows that overlap, plane by plane.

Windows come in rows along z. Behind each row the planes that no later window reaches are final and
handed on; sums and input are rings as deep as a window, so that memory does not grow with a scan.

``exact`` repeats nnU-Net's arithmetic: its order of windows, its weights, float16 sums and
quotient. ``fast`` sums in float32 with weights that add up to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations, groupby, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.flare22 import flare22_rows
from flare_infer.heads import Head
from flare_infer.ring import PlaneRing
from flare_infer.spec import Mode
from flare_infer.window_sums import WindowSums, mean_planes
from flare_infer.window_weights import window_weights
from flare_infer.windows import Start, WindowPlan

__all__ = ["Net", "PlaneBlocks", "ensemble_logits", "logit_planes"]

Net = Callable[[NDArray[np.float32]], NDArray[Any]]
"""From windows (1, c, z, y, x) float32 to logits (1, classes, z, y, x), in a new array."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class PlaneBlocks:
    """A prepared case that comes in blocks of planes.

    Parameters
    ----------
    shape : (3,) int
        Of the whole.
    blocks : iterable of (c, planes, y, x) float32 arrays
        From its first plane to its last; each is asked for when it is needed.
    wanted : callable, optional
        Which windows of the layout ``grid`` are looked at, from their first voxel in the padded
        case. Where none is, logits are 0; where some are not, in fast mode, those of the others are
        too small by one factor for all classes. In both the decision stays.
    """

    shape: Sequence[int]
    blocks: Iterable[NDArray[np.float32]]
    wanted: Callable[[Start], bool] | None = None


def logit_planes(
    nets: Sequence[Net],
    case: PlaneBlocks,
    windows: WindowPlan,
    *,
    mode: Mode,
    mirror: bool = False,
    on_window: Callable[[], None] | None = None,
    head: Head | None = None,
    compact: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Yield the mean logits of an ensemble, plane by plane.

    Parameters
    ----------
    nets : sequence of callables
        From windows (1, c, z, y, x) float32 to logits (1, classes, z, y, x).
    case : PlaneBlocks
        Padded with 0 to at least one window, in equal parts on both sides.
    windows : WindowPlan
    mode : {"exact", "fast"}
        Arithmetic, see the module.
    mirror : bool
        Average over all combinations of the plan's mirror axes.
    on_window : callable, optional
        Called after each window, for progress and cancelling (by raising).
    head : Head, optional
        How logits become labels; the layout ``flare22`` needs it.
    compact : bool
        Hold exact mode's sums in float16: the same numbers in half the memory, several times as
        slow to add.

    Yields
    ------
    (classes, y, x) float32 array
        A view; of all that were yielded the newest `flare_infer.window_sums.PLANES_KEPT` are valid.
        In exact mode the values are float16 numbers.

    Raises
    ------
    RuntimeError
        If float16 sums overflow in exact mode.
    ValueError
        If there is no net, blocks hold fewer planes than the shape, or the layout needs a head and
        there is none.

    Notes
    -----
    Memory: per net ``classes + 1`` times a window's depth of padded planes, and ``c`` times that
    for the input, in float32.
    """
    if not nets:
        raise ValueError("nets must hold at least one net")
    if windows.layout == "flare22" and head is None:
        raise ValueError("head must be given: the layout flare22 looks at the labels of windows")
    padded = windows.padded_shape(case.shape)
    before = [(n - m) // 2 for n, m in zip(padded, case.shape, strict=True)]
    inside = [slice(k, k + n) for k, n in zip(before, case.shape, strict=True)]
    source = _Source(case.blocks, inside, padded, windows.patch)
    weights = window_weights(windows, padded, mode=mode)

    def predict(net: Net, start: Start) -> NDArray[Any]:
        axes = windows.mirror_axes if mirror else ()
        prediction: NDArray[Any] = _mirrored(net, source.window(start), axes)[0]
        if on_window is not None:
            on_window()
        return prediction

    sums = [WindowSums(weights, padded, windows.patch[0], mode, compact=compact) for _ in nets]
    wanted = case.wanted or (lambda start: True)
    rows = [_rows(windows, padded, partial(predict, net), wanted, head) for net in nets]
    starts = list(dict.fromkeys(windows.axis_starts(padded)[0]))
    for first, last in pairwise((*starts, padded[0])):
        source.read(first + windows.patch[0])
        for each, row in zip(sums, rows, strict=True):
            each.begin(first + windows.patch[0])
            for start, prediction in next(row):
                each.add(start, prediction)
                # Not held while the next window is looked at.
                del prediction
        for z in range(max(first, inside[0].start), min(last, inside[0].stop)):
            yield mean_planes([each.finish(z, head) for each in sums], mode)[:, *inside[1:]]


def ensemble_logits(
    nets: Sequence[Net], array: NDArray[np.float32], windows: WindowPlan, **settings: Any
) -> NDArray[Any]:
    """Return all planes of `logit_planes` in one array.

    Parameters
    ----------
    nets, windows, settings
        As for `logit_planes`.
    array : (c, z, y, x) float32 array

    Returns
    -------
    (classes, z, y, x) array
        float16 in exact mode, float32 in fast mode.
    """
    dtype = np.float16 if settings["mode"] == "exact" else np.float32
    planes = logit_planes(nets, PlaneBlocks(array.shape[1:], [array]), windows, **settings)
    return np.stack([plane.astype(dtype) for plane in planes], axis=1)


class _Source:
    """The padded input, read as far as it is needed, held as deep as a window."""

    def __init__(
        self,
        blocks: Iterable[NDArray[np.float32]],
        inside: Sequence[slice],
        padded: Shape,
        patch: Shape,
    ) -> None:
        planes = (plane for block in blocks for plane in np.moveaxis(block, 1, 0))
        first = next(planes, None)
        if first is None:
            raise ValueError("blocks must hold at least one plane, got none")
        self._planes = chain((first,), planes)
        self._inside, self._patch = inside, patch
        self._ring = PlaneRing(patch[0], (len(first), *padded[1:]))

    def read(self, end: int) -> None:
        """Read planes of the padded case up to ``end``, excluded."""
        for z in range(self._ring.end, end):
            self._ring.extend(z + 1)
            if not self._inside[0].start <= z < self._inside[0].stop:
                continue
            plane = next(self._planes, None)
            if plane is None:
                raise ValueError(
                    f"blocks must hold {self._inside[0].stop - self._inside[0].start} planes, "
                    f"got {z - self._inside[0].start}"
                )
            self._ring[z][:, *self._inside[1:]] = plane

    def window(self, start: Start) -> NDArray[np.float32]:
        """Return a copy of the window (1, c, z, y, x) that starts there."""
        place = [slice(k, k + n) for k, n in zip(start, self._patch, strict=True)]
        planes = [self._ring[z][:, *place[1:]] for z in range(place[0].start, place[0].stop)]
        return np.stack(planes, axis=1)[None]


def _rows(
    windows: WindowPlan,
    shape: Shape,
    predict: Callable[[Start], NDArray[Any]],
    wanted: Callable[[Start], bool],
    head: Head | None,
) -> Iterator[Iterator[tuple[Start, NDArray[Any]]]]:
    """Yield, for each row, its windows that count with their predictions, in order."""
    if windows.layout == "grid":
        by_row = groupby(windows.starts(shape), key=itemgetter(0))
        return (((start, predict(start)) for start in row if wanted(start)) for _, row in by_row)
    assert head is not None, "asked before"

    def decide(prediction: NDArray[Any]) -> NDArray[Any]:
        return head.decide(prediction.astype(np.float32, copy=False))

    return flare22_rows(windows, shape, predict=predict, decide=decide)


def _mirrored(net: Net, window: NDArray[np.float32], axes: Sequence[int]) -> NDArray[Any]:
    """Return the mean prediction over the window and all its mirror images."""
    prediction = net(window)
    dims = [axis + 2 for axis in axes]
    flips = [chosen for size in range(len(dims)) for chosen in combinations(dims, size + 1)]
    for flip in flips:
        mirrored = net(np.ascontiguousarray(np.flip(window, flip)))
        prediction = prediction + np.flip(mirrored, flip)
    return prediction / (len(flips) + 1) if flips else prediction
