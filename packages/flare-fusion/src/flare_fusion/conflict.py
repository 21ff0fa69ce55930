"""Where and how far label maps differ that looked for different classes.

A partial label says nothing about classes outside its K, and an organ model nothing about tumors.
So two sources are compared on the classes that both looked for; all other labels count as
background to that pair. A voxel is in conflict where at least one pair then differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellCounts", "agreement_record", "conflict_mask", "count_cells"]

_SLICES = 8

LookedFor = Mapping[str, Collection[int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class CellCounts:
    """How many voxels carry each combination of labels.

    Parameters
    ----------
    sources : tuple of str
    labels : (n, sources) integer array
        The combinations that occur, or more.
    voxels : (n,) integer array
        Voxels of each.
    """

    sources: tuple[str, ...]
    labels: NDArray[Any]
    voxels: NDArray[Any]

    def of(self, source: str) -> NDArray[Any]:
        """Return the label of one source in each combination."""
        found: NDArray[Any] = self.labels[:, self.sources.index(source)]
        return found


def agreement_record(
    cells: CellCounts, *, looked_for: LookedFor, voxel_volume_mm3: float
) -> dict[str, Any]:
    """Return how far the sources of a case agree, ready for JSON.

    Parameters
    ----------
    cells : CellCounts
    looked_for : mapping of str to collection of int
        The classes that each source looked for. A source that is not named is left out.
    voxel_volume_mm3 : float

    Returns
    -------
    dict
        ``pairs``: DSC by label for each pair of sources, of labels that one of the two shows.
        ``kappa_of``: Fleiss' kappa by label among the sources that looked for it, of labels that
        one shows. ``kappa``: their mean weighted by p (1 - p), p the share of votes for the label,
        which is how Fleiss' kappa of several classes is made of those of each; the background is
        no class here. ``mean_dice``: over pairs and labels. ``conflict_voxels``, ``conflict_ml``
        and ``conflict_ml_of`` by label: volume in which a pair differs. ``looked_for``: as given.
        A mean over nothing is None.

    Notes
    -----
    J. L. Fleiss, Measuring nominal scale agreement among many raters, Psychological Bulletin 76
    (1971). All voxels of the image count, so that kappa depends on the field of view.

    Examples
    --------
    >>> cells = CellCounts(
    ...     sources=("A", "B"),
    ...     labels=np.array([[0, 0], [1, 1], [1, 0]]),
    ...     voxels=np.array([6, 2, 2]),
    ... )
    >>> record = agreement_record(
    ...     cells, looked_for={"A": (1, 2), "B": (1, 2)}, voxel_volume_mm3=500.0
    ... )
    >>> record["pairs"][0]["dice"], record["conflict_ml"]
    ({'1': 0.6666666666666666}, 1.0)
    """
    spoken = {name: frozenset(looked_for[name]) for name in cells.sources if name in looked_for}
    voxel_ml = voxel_volume_mm3 / 1000
    pairs = [_pair_dice(cells, first, second, common) for first, second, common in _pairs(spoken)]
    values = [value for pair in pairs for value in pair["dice"].values()]
    kappa_of, weights = _kappas(cells, spoken)
    differs = np.zeros(len(cells.voxels), bool)
    by_label: dict[int, NDArray[np.bool_]] = {}
    for first, second, common in _pairs(spoken):
        a, b = cells.of(first), cells.of(second)
        for label in sorted(common):
            unequal = (a == label) != (b == label)
            differs |= unequal
            by_label[label] = by_label.get(label, np.zeros_like(differs)) | unequal
    conflict = int(cells.voxels[differs].sum())
    return {
        "looked_for": {name: sorted(labels) for name, labels in spoken.items()},
        "pairs": pairs,
        "mean_dice": float(np.mean(values)) if values else None,
        "kappa": float(np.average(list(kappa_of.values()), weights=weights)) if kappa_of else None,
        "kappa_of": kappa_of,
        "conflict_voxels": conflict,
        "conflict_ml": conflict * voxel_ml,
        "conflict_ml_of": {
            str(label): float(volume * voxel_ml)
            for label, where in sorted(by_label.items())
            if (volume := int(cells.voxels[where].sum()))
        },
    }


def count_cells(arrays: Mapping[str, NDArray[Any]]) -> CellCounts:
    """Count the combinations of labels of a case, for rules that do not do so as they fuse.

    Parameters
    ----------
    arrays : mapping of str to (z, y, x) unsigned integer array
        On one grid.

    Examples
    --------
    >>> a, b = np.array([[[0, 1, 1]]], np.uint8), np.array([[[0, 1, 2]]], np.uint8)
    >>> cells = count_cells({"A": a, "B": b})
    >>> cells.labels.tolist(), cells.voxels.tolist()
    ([[0, 0], [1, 1], [1, 2]], [1, 1, 1])
    """
    sizes = [int(array.max()) + 1 for array in arrays.values()]
    slices = len(next(iter(arrays.values())))
    counts = np.zeros(int(np.prod(sizes)), np.int64)
    for start in range(0, slices, _SLICES):
        parts = [array[start : start + _SLICES].ravel() for array in arrays.values()]
        counts += np.bincount(np.ravel_multi_index(parts, sizes), minlength=len(counts))
    found = np.flatnonzero(counts)
    labels = np.stack(np.unravel_index(found, sizes), axis=1)
    return CellCounts(sources=tuple(arrays), labels=labels, voxels=counts[found])


def conflict_mask(
    arrays: Mapping[str, NDArray[Any]], *, looked_for: LookedFor
) -> NDArray[np.bool_]:
    """Return the voxels in which two sources differ on a class that both looked for.

    Parameters
    ----------
    arrays : mapping of str to (z, y, x) unsigned integer array
    looked_for : mapping of str to collection of int
        A source that is not named is left out.

    Examples
    --------
    >>> partial = np.array([[[0, 0, 2]]], np.uint8)
    >>> pseudo = np.array([[[1, 2, 2]]], np.uint8)
    >>> conflict_mask(
    ...     {"partial": partial, "pseudo": pseudo}, looked_for={"partial": [2], "pseudo": [1, 2]}
    ... ).tolist()
    [[[False, True, False]]]
    """
    spoken = {name: frozenset(looked_for[name]) for name in arrays if name in looked_for}
    shape = next(iter(arrays.values())).shape
    mask = np.zeros(shape, bool)
    for first, second, common in _pairs(spoken):
        kept = np.zeros(1 + max(int(arrays[name].max()) for name in (first, second)), np.uint8)
        shared = [label for label in common if label < len(kept)]
        kept[shared] = 1 + np.arange(len(shared))
        mask |= kept[arrays[first]] != kept[arrays[second]]
    return mask


def _pairs(
    spoken: Mapping[str, frozenset[int]],
) -> Iterator[tuple[str, str, frozenset[int]]]:
    for first, second in combinations(spoken, 2):
        common = (spoken[first] & spoken[second]) - {0}
        if common:
            yield first, second, common


def _pair_dice(cells: CellCounts, first: str, second: str, common: Iterable[int]) -> dict[str, Any]:
    a, b = cells.of(first), cells.of(second)
    dice = {}
    for label in sorted(common):
        size = int(cells.voxels[a == label].sum() + cells.voxels[b == label].sum())
        if size:
            both = int(cells.voxels[(a == label) & (b == label)].sum())
            dice[str(label)] = 2 * both / size
    return {"first": first, "second": second, "dice": dice}


def _kappas(
    cells: CellCounts, spoken: Mapping[str, frozenset[int]]
) -> tuple[dict[str, float], list[float]]:
    """Return Fleiss' kappa by label and its weight p (1 - p)."""
    total = int(cells.voxels.sum())
    kappas, weights = {}, []
    for label in sorted(frozenset().union(*spoken.values()) - {0}):
        raters = [cells.of(name) for name, labels in spoken.items() if label in labels]
        n = len(raters)
        if n < 2:
            continue
        votes = sum((rater == label).astype(np.int64) for rater in raters)
        share = int((cells.voxels * votes).sum()) / (total * n)
        if not 0 < share < 1:
            continue
        unequal = int((cells.voxels * votes * (n - votes)).sum())
        expected = share * (1 - share)
        kappas[str(label)] = 1 - unequal / (total * n * (n - 1) * expected)
        weights.append(expected)
    return kappas, weights
