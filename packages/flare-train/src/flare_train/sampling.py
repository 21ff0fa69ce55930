"""Which case, which class and which place a training patch is taken from.

The rule is nnU-Net's: most samples of a batch lie anywhere, the last ones are centered on a voxel
of a class that is drawn evenly from those their case holds. A class that the case does not annotate
is never asked for, whatever its label map holds. In a case with voxels that nobody states anything
about, the samples that may lie anywhere are centered on one of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flare_train.randomness import stream

__all__ = ["PatchPlace", "draw_places", "forced_samples", "place_patch"]


class Case(Protocol):
    """What sampling needs to know of a case."""

    @property
    def id(self) -> str:
        """Name of the case."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""

    @property
    def annotated(self) -> frozenset[int]:
        """Label ids that the case's annotators looked for."""

    def locations(self, label: int) -> NDArray[np.integer[Any]]:
        """Voxels of a label, (n, 3); no rows where the label does not occur."""

    @property
    def present(self) -> Collection[int]:
        """Label ids that occur, the background left out."""

    @property
    def stated(self) -> NDArray[np.integer[Any]] | None:
        """Voxels that somebody states something about, (n, 3); None where that is all of them."""


@dataclass(frozen=True)
class PatchPlace:
    """One drawn patch: index of the case, first voxel (may be negative), and the forced class."""

    case: int
    start: tuple[int, int, int]
    forced: int | None


def forced_samples(batch: int, share: float) -> int:
    """Return how many samples at the end of a batch are centered on the foreground.

    Examples
    --------
    >>> [forced_samples(batch, 0.33) for batch in (2, 4, 8)]
    [1, 1, 3]
    """
    return batch - round(batch * (1 - share))


def place_patch(
    shape: Sequence[int],
    patch: Sequence[int],
    *,
    rng: np.random.Generator,
    center: Sequence[int] | None = None,
) -> tuple[int, int, int]:
    """Draw the first voxel of a patch.

    Parameters
    ----------
    shape, patch : (3,) int
        Sizes of the case and of the patch along (z, y, x).
    rng : numpy.random.Generator
        Source of the place when there is no center.
    center : (3,) int, optional
        Voxel that has to lie in the patch, in its middle where the border of the case permits.

    Returns
    -------
    (int, int, int)
        Along an axis where the case is at least as large as the patch, the patch lies inside. Along
        a shorter axis the case lies inside, in the middle, and the start is negative.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> place_patch((10, 10, 10), (4, 4, 16), rng=rng, center=(0, 5, 9))
    (0, 3, -3)
    """
    start = []
    for axis, (size, length) in enumerate(zip(shape, patch, strict=True)):
        room = size - length
        if room <= 0:
            start.append(room // 2)
        elif center is None:
            start.append(int(rng.integers(room + 1)))
        else:
            start.append(min(max(int(center[axis]) - length // 2, 0), room))
    z, y, x = start
    return z, y, x


def draw_places(
    cases: Sequence[Case],
    *,
    batch: int,
    patch: Sequence[int],
    foreground_share: float,
    seed: int,
    iteration: int,
) -> tuple[PatchPlace, ...]:
    """Draw the patches of one iteration.

    Parameters
    ----------
    cases : sequence of Case
        At least one. Cases are drawn evenly, with replacement.
    batch : int
        Patches to draw.
    patch : (3,) int
        Size along (z, y, x).
    foreground_share : float
        See `forced_samples`. A case without any annotated foreground gives an unforced patch.
    seed, iteration : int
        Name the random numbers: equal values give equal places.

    Returns
    -------
    tuple of PatchPlace
        In the order of the batch.

    References
    ----------
    nnU-Net v2, `nnUNetDataLoader.get_bbox`. Unlike there a forced patch is shifted back into the
    case, so that no padding is sampled where the case is larger than the patch.
    """
    if not cases:
        raise ValueError("cases must hold at least one case, got none")
    forced_from = batch - forced_samples(batch, foreground_share)
    places = []
    for sample in range(batch):
        rng = stream(seed, iteration, sample, "place")
        index = int(rng.integers(len(cases)))
        case = cases[index]
        label, center = None, None
        if sample >= forced_from:
            label, center = _foreground_voxel(case, rng)
        if center is None and case.stated is not None and len(case.stated):
            center = _one_of(case.stated, rng)
        start = place_patch(case.shape, patch, rng=rng, center=center)
        places.append(PatchPlace(index, start, label))
    return tuple(places)


def _foreground_voxel(
    case: Case, rng: np.random.Generator
) -> tuple[int | None, tuple[int, ...] | None]:
    labels = sorted(set(case.present) & case.annotated)
    if not labels:
        return None, None
    label = labels[int(rng.integers(len(labels)))]
    return label, _one_of(case.locations(label), rng)


def _one_of(voxels: NDArray[np.integer[Any]], rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(index) for index in voxels[int(rng.integers(len(voxels)))])
