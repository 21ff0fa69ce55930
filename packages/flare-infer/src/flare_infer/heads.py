"""What the channels of a net mean: which compete, which decide alone, and what they write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST_HALF_SIGMOID", "Head", "exceeds_half"]

_LARGEST_BYTE = 255
LARGEST_HALF_SIGMOID = np.float32(1.5 * 2.0**-24)
"""The largest logit whose float32 sigmoid is 1/2."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The decision at one voxel, from the logits of all channels to a label.

    First the rivals compete: the label of the largest logit is written, the first of equal ones
    winning. Then the painters decide one by one, in their order, and each writes its label over
    what is there.

    Parameters
    ----------
    labels : tuple of int
        The label that each channel stands for.
    rivals : tuple of int
        Channels that compete, ascending.
    painters : tuple of int
        Channels that decide alone.
    zero : bool
        Whether a constant logit 0 that stands for background competes ahead of the rivals.
    by_sigmoid : bool
        Painters write where their float32 sigmoid exceeds 1/2, which is nnU-Net's rule for regions
        and differs from a logit above 0 where that is below float32's resolution of 1. Otherwise
        they write where the logit exceeds 0.

    Examples
    --------
    >>> head = Head(labels=(0, 1, 14), rivals=(0, 1), painters=(2,))
    >>> head.decide(np.array([[3.0, 0.0, 0.0], [1.0, 2.0, 2.0], [-1.0, -1.0, 0.5]])).tolist()
    [0, 1, 14]
    """

    labels: tuple[int, ...]
    rivals: tuple[int, ...]
    painters: tuple[int, ...] = ()
    zero: bool = False
    by_sigmoid: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds all labels."""
        return np.dtype(np.uint8 if max(self.labels) <= _LARGEST_BYTE else np.uint16)

    def decide(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the labels of logits (channels, ...), in `dtype`."""
        return self.decide_channels(values.__getitem__, values.shape[1:])

    def decide_channels(
        self, read: Callable[[int], NDArray[Any]], shape: Sequence[int]
    ) -> NDArray[Any]:
        """Return the labels where the logits of a channel are made when they are asked for.

        Parameters
        ----------
        read : callable
            From a channel's number to its logits; called once for each, one array held at a time
            beside the largest so far.
        shape : sequence of int
            Of each channel.
        """
        result = np.zeros(tuple(shape), dtype=self.dtype)
        best: NDArray[Any] | None = None
        for channel in self.rivals:
            values = read(channel)
            if best is None:
                # -inf below every logit would do for the first rival; a copy is quicker.
                best = np.zeros_like(values) if self.zero else values.copy()
                if not self.zero:
                    result[...] = self.labels[channel]
                    continue
            larger = values > best
            result[larger] = self.labels[channel]
            np.copyto(best, values, where=larger)
        for channel in self.painters:
            result[self.paints(read(channel))] = self.labels[channel]
        return result

    def paints(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where a painter with these logits writes its label."""
        return exceeds_half(values) if self.by_sigmoid else np.asarray(values > 0)


def exceeds_half(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the float32 sigmoid exceeds 1/2: its rounding near 0 is part of the rule.

    Notes
    -----
    Up to this logit exp(-x) rounds to 1 or to the next number below, and 1 + exp(-x) to 2. So do
    torch's, which nnU-Net takes; the tests try every number around.
    """
    return np.asarray(values.astype(np.float32, copy=False) > LARGEST_HALF_SIGMOID)
