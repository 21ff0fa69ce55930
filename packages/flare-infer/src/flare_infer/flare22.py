"""The order of windows that won FLARE 2022: the middle of each row decides about its rest.

Rows are the positions along z. The middle window of a row is looked at first. Does it show hardly
any foreground, it counts for nothing and the next row is skipped as well. Does it show tubes alone
(aorta, inferior vena cava, esophagus), only windows in front and behind are added towards which
they run. Otherwise all of the row is looked at. What is skipped may hold a lesion: this is a
shortcut for organs.

References
----------
Z. Huang et al., "Revisiting nnU-Net for iterative pseudo labeling and efficient sliding window
inference" (2023). Windows that coincide on a small image are looked at once here, which leaves the
mean of their predictions as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flare_infer.windows import Start, WindowPlan

__all__ = ["flare22_rows"]

Prediction = TypeVar("Prediction")


def flare22_rows(
    windows: WindowPlan,
    shape: Sequence[int],
    *,
    predict: Callable[[Start], Prediction],
    decide: Callable[[Prediction], NDArray[Any]],
) -> Iterator[Iterator[tuple[Start, Prediction]]]:
    """Yield, for each row, the windows that count, with their predictions.

    Parameters
    ----------
    windows : WindowPlan
    shape : (3,) int
        At least one window large.
    predict : callable
        From a window's first voxel to the net's prediction.
    decide : callable
        From a prediction to the labels (z, y, x) of its window.

    Yields
    ------
    iterator of (start, prediction)
        One row's, nothing for a row that is dropped or skipped; to be exhausted before the next row
        is asked for.
    """
    rows, ys, xs = windows.axis_starts(shape)
    skip = False
    for z in rows:
        if skip:
            skip = False
            yield iter(())
            continue
        middle = (z, ys[1], xs[1])
        prediction = predict(middle)
        labels = decide(prediction)
        if np.count_nonzero(labels) < windows.skip_below:
            skip = True
            yield iter(())
            continue
        others = dict.fromkeys(_others(labels, windows, ys, xs))
        others.pop(middle[1:], None)
        starts = [(z, y, x) for y, x in others]
        yield chain([(middle, prediction)], ((start, predict(start)) for start in starts))


def _others(
    labels: NDArray[Any], windows: WindowPlan, ys: Sequence[int], xs: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield the starts (y, x) in the row of a middle window with these labels."""
    if not np.isin(labels, (0, *windows.tube_labels)).all():
        yield from product(ys, xs)
        return
    for face, y in ((labels[:, 0], ys[0]), (labels[:, -1], ys[2])):
        if np.count_nonzero(face) > windows.face_above:
            yield y, xs[1]
