"""Which cases to keep, by how far two label maps of a case agree or how little one changes.

S3 keeps the cases on which the public pseudo-labels A and B agree. The FLARE 2022 winner drops
those whose labels change most from one round of self-training to the next.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["agreement_of_pair", "instability", "keep_stable", "select_by_agreement"]


def agreement_of_pair(
    first: NDArray[Any], second: NDArray[Any], *, labels: Iterable[int]
) -> float | None:
    """Return the mean DSC of two label maps over labels.

    Parameters
    ----------
    first, second : (z, y, x) unsigned integer array
        On one grid.
    labels : iterable of int
        Those to compare. One that neither map shows is left out.

    Returns
    -------
    float or None
        None where neither shows any of the labels.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> a, b = np.array([[[1, 1, 2]]], np.uint8), np.array([[[1, 0, 2]]], np.uint8)
    >>> round(agreement_of_pair(a, b, labels=(1, 2, 3)), 4)
    0.8333
    """
    _same_shape(first, second)
    size = [np.bincount(each.ravel()) for each in (first, second)]
    common = np.bincount(first[first == second])
    values = []
    for label in labels:
        both = sum(int(counts[label]) for counts in size if label < len(counts))
        if both:
            values.append(2 * int(common[label]) / both if label < len(common) else 0.0)
    return float(np.mean(values)) if values else None


def select_by_agreement(
    agreement: Mapping[str, float | None],
    *,
    labeled: Collection[str],
    threshold: float = 0.85,
    first_labeled: int | None = 200,
    first_unlabeled: int | None = 100,
) -> tuple[str, ...]:
    """Return S3's cases: those that agree well enough, the first of each kind by id.

    Parameters
    ----------
    agreement : mapping of str to float or None
        Mean organ DSC of the two pseudo-labels by case; None is never above the threshold.
    labeled : collection of str
        The cases with a partial label.
    threshold : float
        A case must lie above it.
    first_labeled, first_unlabeled : int or None
        How many of each kind to take; None takes all.

    Returns
    -------
    tuple of str
        By id.

    Raises
    ------
    ValueError
        If the threshold is outside 0..1 or a number is negative.

    Notes
    -----
    Of the FLARE 2023 data S3 takes 200 labeled and 100 unlabeled cases.

    Examples
    --------
    >>> agreement = {"c": 0.9, "a": 0.95, "b": 0.8, "d": 0.86}
    >>> select_by_agreement(agreement, labeled={"a", "c"}, first_labeled=1)
    ('a', 'd')
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be within 0..1, got {threshold}")
    for name, number in (("first_labeled", first_labeled), ("first_unlabeled", first_unlabeled)):
        if number is not None and number < 0:
            raise ValueError(f"{name} must be >= 0, got {number}")
    good = sorted(
        case for case, value in agreement.items() if value is not None and value > threshold
    )
    chosen = [
        *[case for case in good if case in labeled][:first_labeled],
        *[case for case in good if case not in labeled][:first_unlabeled],
    ]
    return tuple(sorted(chosen))


def instability(rounds: Sequence[NDArray[Any]]) -> float:
    """Return how much a case's labels change from round to round.

    Parameters
    ----------
    rounds : sequence of (z, y, x) integer array
        Label maps of two or more rounds on one grid, the first first.

    Returns
    -------
    float
        Mean over r >= 2 of the voxels that round r changed, by the voxels that it labels: for
        three rounds ``1/2 * sum(|L_r != L_(r-1)| / |L_r > 0|)``. A round that labels nothing
        counts 0 if it changed nothing, else infinity.

    Raises
    ------
    ValueError
        If there are less than two rounds, or shapes differ.

    Examples
    --------
    >>> rounds = [np.array([[[0, 1, 1]]]), np.array([[[0, 1, 0]]]), np.array([[[2, 1, 0]]])]
    >>> instability(rounds)
    0.75
    """
    if len(rounds) < 2:
        raise ValueError(f"instability needs at least two rounds, got {len(rounds)}")
    changes = []
    for before, after in pairwise(rounds):
        _same_shape(before, after)
        changed, labeled = int((before != after).sum()), int((after > 0).sum())
        changes.append(changed / labeled if labeled else (math.inf if changed else 0.0))
    return sum(changes) / len(changes)


def keep_stable(instabilities: Mapping[str, float], *, drop: int) -> tuple[str, ...]:
    """Return all cases but the least stable ones, by id.

    Parameters
    ----------
    instabilities : mapping of str to float
    drop : int
        How many to leave out; the FLARE 2022 winner dropped 76 of 2000. Of equal ones, those last
        by id.

    Raises
    ------
    ValueError
        If ``drop`` is negative or leaves nothing.

    Examples
    --------
    >>> keep_stable({"a": 0.1, "b": 0.7, "c": 0.2}, drop=1)
    ('a', 'c')
    """
    if not 0 <= drop < len(instabilities):
        raise ValueError(f"drop must be within 0..{len(instabilities) - 1}, got {drop}")
    ranked = sorted(instabilities, key=lambda case: (instabilities[case], case))
    return tuple(sorted(ranked[: len(ranked) - drop]))


def _same_shape(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape:
        raise ValueError(f"label maps must have one shape, got {first.shape} and {second.shape}")
