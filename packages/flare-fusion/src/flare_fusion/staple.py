"""STAPLE by SimpleITK, to compare the published rules with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.rules import Origin, Source

__all__ = ["StapleRule"]


@dataclass(frozen=True, kw_only=True)
class StapleRule:
    """Simultaneous truth and performance level estimation of several raters.

    Parameters
    ----------
    sources : tuple of Source
        The raters, all with the same labels.
    undecided : int
        The label where the estimate does not decide.
    per_label : bool
        False: all labels at once, by a matrix of confusions for each rater
        (``itk::MultiLabelSTAPLEImageFilter``). It starts from the vote, and two raters never leave
        it. A voxel is undecided where two labels are equally likely. True: one label after the
        other, by sensitivity and specificity (``itk::STAPLEImageFilter``), and the likeliest one
        with a probability above 1/2. A voxel is undecided where two labels lead with equal
        probability.
    max_iterations : int

    Notes
    -----
    S. K. Warfield, K. H. Zou and W. M. Wells, IEEE Transactions on Medical Imaging 23 (2004);
    for several labels T. Rohlfing, D. B. Russakoff and C. R. Maurer, IPMI (2003). The estimate
    takes the whole field of view into account, so that a wider scan gives another result. A rater
    who often confuses two labels is read as having meant the other one, so that a voxel may get a
    label that no rater gave it. It needs a probability of each voxel (and, at once, label): several
    gigabytes for a large scan.
    """

    sources: tuple[Source, ...]
    undecided: int = 0
    per_label: bool = False
    max_iterations: int = 100
    name: str = "staple"

    def evaluate(
        self, parts: Sequence[NDArray[Any]], xp: ModuleType
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return labels and origins of whole label maps.

        Parameters
        ----------
        parts : sequence of (z, y, x) integer array
        xp : module
            Must be NumPy.

        Raises
        ------
        TypeError
            If the arrays are on a device.
        """
        if xp is not np:
            raise TypeError("rule staple runs on the host; hand in cupy.asnumpy(array) of each")
        highest = max(*self.sources[0].labels, self.undecided)
        maps = [np.ascontiguousarray(part, np.min_scalar_type(highest)) for part in parts]
        shape = maps[0].shape
        # SimpleITK takes two and three axes; the estimate does not look at neighbors.
        maps = [each.reshape(1, 1, -1) for each in maps]
        if not maps[0].size:
            fused, undecided = maps[0], np.zeros(maps[0].shape, bool)
        elif self.per_label:
            fused, undecided = self._one_by_one(maps)
        else:
            fused, undecided = self._at_once(maps)
        equal = np.logical_and.reduce([maps[0] == each for each in maps[1:]])
        origins = np.where(equal & (fused == maps[0]), Origin.AGREEMENT, Origin.VOTE)
        origins[fused == 0] = Origin.BACKGROUND
        origins[undecided] = Origin.TIE
        return fused.reshape(shape), origins.astype(np.uint8).reshape(shape)

    def _at_once(self, maps: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        itk = _simpleitk()
        # One above all labels that occur, which no rater can mean.
        mark = max(int(each.max()) for each in maps) + 1
        images = [itk.GetImageFromArray(each.astype(np.min_scalar_type(mark))) for each in maps]
        found = itk.GetArrayFromImage(itk.MultiLabelSTAPLE(images, mark, 1e-5, self.max_iterations))
        undecided: NDArray[np.bool_] = found == mark
        found[undecided] = self.undecided
        return found.astype(maps[0].dtype), undecided

    def _one_by_one(self, maps: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        itk = _simpleitk()
        best = np.full(maps[0].shape, 0.5)
        fused = np.zeros_like(maps[0])
        undecided = np.zeros(maps[0].shape, bool)
        for label in self.sources[0].labels[1:]:
            masks = [(each == label).astype(np.uint8) for each in maps]
            if not any(mask.any() for mask in masks):
                continue
            images = [itk.GetImageFromArray(mask) for mask in masks]
            share = itk.GetArrayFromImage(itk.STAPLE(images, 1.0, 1.0, self.max_iterations))
            undecided = (undecided & (share <= best)) | ((share == best) & (fused > 0))
            wins = share > best
            best[wins], fused[wins] = share[wins], label
        fused[undecided] = self.undecided
        return fused, undecided


def _simpleitk() -> Any:
    """Return SimpleITK, whose types are incomplete and whose import takes long."""
    return import_module("SimpleITK")
