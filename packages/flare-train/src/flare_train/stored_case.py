"""One preprocessed case: what training needs to know of a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_train.errors import TrainingDataError
from flare_train.randomness import stream

__all__ = ["IGNORED", "StoredCase"]

IGNORED = 255
_LARGEST_SAMPLE = 10_000
_LARGEST_HALF = 65504.0


@dataclass(frozen=True, eq=False)
class StoredCase:
    """One preprocessed case.

    Parameters
    ----------
    id : str
        Name of the case.
    image : (c, z, y, x) float16 array
        A NumPy array, a blosc2 array that reads only what is sliced, or a tensor on a device.
    labels : (z, y, x) uint8 array
        Label ids; 255 where nobody states anything. All 0 in an unlabeled case.
    spacing_mm : (float, float, float)
        Voxel size along (z, y, x).
    annotated : frozenset of int
        Label ids that the annotators of this case looked for; empty for an unlabeled case.
    voxels : mapping of int to (n, 3) array
        Some voxels of every label that occurs, the background and 255 left out.
    key : str
        Content and settings that it was made from.
    origins : (z, y, x) uint8 array, optional
        Where the label of each voxel came from, as `flare_fusion.rules.Origin`.
    stated : (n, 3) array, optional
        Some voxels that are not 255; None where no voxel is.
    """

    id: str
    image: Any
    labels: Any
    spacing_mm: tuple[float, float, float]
    annotated: frozenset[int]
    voxels: Mapping[int, NDArray[np.uint16]]
    key: str = ""
    origins: Any = None
    stated: NDArray[np.uint16] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        z, y, x = self.labels.shape
        return z, y, x

    @property
    def present(self) -> frozenset[int]:
        """Label ids that occur, the background and 255 left out."""
        return frozenset(self.voxels)

    def locations(self, label: int) -> NDArray[np.uint16]:
        """Return up to 10 000 voxels of a label, (n, 3); no rows where it does not occur."""
        return self.voxels.get(label, np.zeros((0, 3), np.uint16))

    @classmethod
    def from_arrays(
        cls,
        id: str,
        image: NDArray[Any],
        labels: NDArray[Any] | None,
        *,
        spacing_mm: tuple[float, float, float],
        annotated: frozenset[int] = frozenset(),
        origins: NDArray[Any] | None = None,
        key: str = "",
    ) -> StoredCase:
        """Make a case from arrays in memory and look up where its labels are.

        Parameters
        ----------
        id, spacing_mm, annotated, key
            As in the class.
        image : (c, z, y, x) array
            Finite values; clipped to what float16 holds.
        labels : (z, y, x) integer array or None
            Ids in 0..254, and 255 where nobody states anything. None for an unlabeled case.
        origins : (z, y, x) integer array, optional
            Codes in 0..255.

        Raises
        ------
        TrainingDataError
            If grids differ, a value is not finite, a label or code is not in 0..255, or an
            unlabeled case is said to be annotated.

        Examples
        --------
        >>> labels = np.array([[[0, 3, 255]]])
        >>> case = StoredCase.from_arrays(
        ...     "a",
        ...     np.zeros((1, 1, 1, 3)),
        ...     labels,
        ...     spacing_mm=(1.0, 1.0, 1.0),
        ...     annotated=frozenset({3}),
        ... )
        >>> case.present, case.locations(3).tolist(), len(case.stated)
        (frozenset({3}), [[0, 0, 1]], 2)
        """
        if labels is None and annotated:
            raise TrainingDataError(
                f"{id}: an unlabeled case annotates nothing, got K {sorted(annotated)}; give its "
                "labels or an empty K"
            )
        given = np.zeros(image.shape[1:], np.uint8) if labels is None else labels
        if image.ndim != 4 or image.shape[1:] != given.shape:
            raise TrainingDataError(
                f"{id}: image must be (c, z, y, x) on the grid of the labels, got shapes "
                f"{image.shape} and {given.shape}; prepare both together"
            )
        if not np.isfinite(image).all():
            count = int((~np.isfinite(image)).sum())
            raise TrainingDataError(
                f"{id}: all voxels of the image must be finite, found {count} NaN or infinite; "
                "repair the file or leave the case out"
            )
        small = _bytes(id, given, "label ids")
        codes = None if origins is None else _bytes(id, origins, "codes of origin")
        if codes is not None and codes.shape != small.shape:
            raise TrainingDataError(
                f"{id}: origins must lie on the grid of the labels, got shapes {codes.shape} and "
                f"{small.shape}; take the provenance that was written with these labels"
            )
        half = np.empty(image.shape, np.float16)
        # Beyond the range of float16 lies no intensity that a normalized image can have. Converted
        # piece by piece, without a copy in the type of the input.
        np.clip(image, -_LARGEST_HALF, _LARGEST_HALF, out=half, casting="same_kind")
        return cls(
            id=id,
            image=half,
            labels=small,
            spacing_mm=spacing_mm,
            annotated=annotated,
            voxels=_voxels_by_label(id, small),
            key=key,
            origins=codes,
            stated=_stated_voxels(id, small),
        )


def _bytes(id: str, values: NDArray[Any], what: str) -> NDArray[np.uint8]:
    if values.size and (values.min() < 0 or values.max() > 255):
        raise TrainingDataError(
            f"{id}: {what} must lie in 0..255, found {values.min()} to {values.max()}; "
            "renumber them"
        )
    return np.ascontiguousarray(values, np.uint8)


def _voxels_by_label(id: str, labels: NDArray[np.uint8]) -> dict[int, NDArray[np.uint16]]:
    flat = labels.ravel()
    occupied = np.flatnonzero(flat)
    ids = flat[occupied]
    return {
        int(label): _sample(id, int(label), occupied[ids == label], labels.shape)
        for label in np.unique(ids)
        if label != IGNORED
    }


def _stated_voxels(id: str, labels: NDArray[np.uint8]) -> NDArray[np.uint16] | None:
    stated = labels.ravel() != IGNORED
    if stated.all():
        return None
    return _sample(id, IGNORED, np.flatnonzero(stated), labels.shape)


def _sample(
    id: str, label: int, places: NDArray[np.intp], shape: tuple[int, ...]
) -> NDArray[np.uint16]:
    if len(places) > _LARGEST_SAMPLE:
        # Keyed by case and label: the same case gives the same sample in every run.
        rng = stream(0, id, label, "voxels")
        places = np.sort(rng.choice(places, _LARGEST_SAMPLE, replace=False))
    return np.stack(np.unravel_index(places, shape), axis=1).astype(np.uint16)
