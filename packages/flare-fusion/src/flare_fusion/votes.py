"""Votes of any number of sources, exact in their ties, on blocks of voxels or on a table's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.rules import Origin, Source
from flare_fusion.tables import FusionTable, frozen_table

__all__ = ["VoteRule", "vote_table"]

# Sums of weights that differ by less than this share of all weight are equal: 0.1 + 0.2 ties with
# 0.3. Rounding is a million times smaller.
_LEVEL = 1e-9


@dataclass(frozen=True, kw_only=True)
class VoteRule:
    """A rule in which each source votes for the label that it holds.

    Parameters
    ----------
    name : str
    sources : tuple of Source
        All with the same labels.
    weights : tuple of (tuple of float)
        For each source the weight of its vote by class number, in the order of its labels.
    unanimous : bool
        Take a label only where all sources hold it.
    prefer_first : bool
        Among leading labels that are level, take the one that the first source holds.
    undecided : int
        The label where nothing else decides.
    lone_origins : tuple of Origin
        For each source the origin of a label that it alone sees; empty where that is a vote.
    """

    name: str
    sources: tuple[Source, ...]
    weights: tuple[tuple[float, ...], ...]
    unanimous: bool = False
    prefer_first: bool = False
    undecided: int = 0
    lone_origins: tuple[Origin, ...] = ()

    @property
    def labels(self) -> tuple[int, ...]:
        """What the sources may hold."""
        return self.sources[0].labels

    @property
    def label_type(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every label it may give."""
        return np.min_scalar_type(max(*self.labels, self.undecided))

    def evaluate(
        self, parts: Sequence[NDArray[Any]], xp: ModuleType
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return labels and origins of voxels.

        Parameters
        ----------
        parts : sequence of integer array
            The labels of each source at the same voxels; they must be known to the rule.
        xp : module
            NumPy or CuPy, to which the parts belong.

        Notes
        -----
        Cost: sources times labels comparisons of a voxel.
        """
        weights, level = self._exact_weights()
        best = xp.zeros(parts[0].shape, weights.dtype)
        fused = xp.full(parts[0].shape, 0, self.label_type)
        tied = xp.zeros(parts[0].shape, bool)
        for number, label in enumerate(self.labels):
            holds = [part == label for part in parts]
            if xp is np and not any(mask.any() for mask in holds):
                continue
            votes = _sum([mask * weights[i, number] for i, mask in enumerate(holds)])
            ahead = votes > best + level
            fused[ahead] = label
            tied = (tied & ~ahead) | (~ahead & (votes + level >= best) & (votes > level))
            best = xp.maximum(best, votes)
        unequal = _differ(parts)
        open_ = unequal if self.unanimous else tied | (unequal & (best <= level))
        fused[open_] = self.undecided
        if self.prefer_first:
            for part in reversed(parts):
                votes = self._votes_for(part, parts, weights, xp)
                chosen = open_ & (votes + level >= best) & (votes > level)
                fused[chosen] = part[chosen]
        return fused, self._origins(parts, fused, open_, unequal, xp)

    def _exact_weights(self) -> tuple[NDArray[Any], Any]:
        """Return weights by source and class, and the difference below which sums are level."""
        weights = np.asarray(self.weights, np.float64)
        total = weights.max(axis=1).sum()
        if total <= 255 and (weights == np.rint(weights)).all():
            return weights.astype(np.uint8), np.uint8(0)
        return weights, _LEVEL * total

    def _votes_for(
        self,
        held: NDArray[Any],
        parts: Sequence[NDArray[Any]],
        weights: NDArray[Any],
        xp: ModuleType,
    ) -> NDArray[Any]:
        """Return the votes that the label held by one source gets from all."""
        index = held.astype(np.intp)
        sums = []
        for part, of_source in zip(parts, weights, strict=True):
            by_label = np.zeros(self.labels[-1] + 1, weights.dtype)
            by_label[list(self.labels)] = of_source
            sums.append((part == held) * xp.take(xp.asarray(by_label), index))
        return _sum(sums)

    def _origins(
        self,
        parts: Sequence[NDArray[Any]],
        fused: NDArray[Any],
        undecided: NDArray[np.bool_],
        unequal: NDArray[np.bool_],
        xp: ModuleType,
    ) -> NDArray[np.uint8]:
        origins = xp.where(unequal, np.uint8(Origin.VOTE), np.uint8(Origin.AGREEMENT))
        if self.lone_origins:
            seen = _sum([(part != 0).astype(np.uint16) for part in parts])
            for part, origin in zip(parts, self.lone_origins, strict=True):
                origins[(seen == 1) & (part != 0)] = origin
        origins[fused == 0] = Origin.BACKGROUND
        origins[undecided] = Origin.TIE
        return origins  # type: ignore[no-any-return]  # NumPy or CuPy


@lru_cache(maxsize=64)
def vote_table(rule: VoteRule) -> FusionTable:
    """Return the table of a vote, one axis a source; kept for the next call.

    Its cells are the number of labels to the power of the number of sources; see
    `flare_fusion.general.compile_general` for where that stays small.
    """
    shape = (len(rule.labels),) * len(rule.sources)
    labels, origins = np.empty(shape, rule.label_type), np.empty(shape, np.uint8)
    rest = np.meshgrid(*[np.asarray(rule.labels)] * (len(shape) - 1), indexing="ij")
    for number, label in enumerate(rule.labels):
        first = np.full(shape[1:], label)
        labels[number], origins[number] = rule.evaluate([first, *rest], np)
    return frozen_table(rule.name, rule.sources, labels, origins)


def _differ(parts: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    unequal: NDArray[np.bool_] = parts[0] != parts[1]
    for part in parts[2:]:
        unequal |= parts[0] != part
    return unequal


def _sum(terms: Sequence[NDArray[Any]]) -> NDArray[Any]:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
