"""Keeping cases where patches are read fastest: in memory, or on the device that trains."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from flare_io.free_memory import available_bytes
from flare_train.store import read_stored_case
from flare_train.stored_case import StoredCase

__all__ = ["cached_on_device", "held_in_memory", "kept_bytes", "open_cases"]

_SHARE = 0.8
_ARRAYS = ("image", "labels", "origins")


def open_cases(
    folder: os.PathLike[str] | str, ids: Iterable[str], *, device: torch.device | str = "cpu"
) -> tuple[StoredCase, ...]:
    """Open cases of a store for training, each kept where there is room.

    Parameters
    ----------
    folder : path
        Folder of the store.
    ids : iterable of str
        Names of the cases.
    device : torch.device or str, optional
        The device that trains; under ``torchrun``, ``"cuda"`` is the one of the local rank.

    Returns
    -------
    tuple of StoredCase
        In the given order: first on a CUDA device (`cached_on_device`), then in memory
        (`held_in_memory`), the rest in their mapped files.

    Raises
    ------
    TrainingDataError
        If a case is not there whole.
    """
    cases = tuple(read_stored_case(folder, id, in_memory=False) for id in ids)
    place = torch.device(device)
    if place.type == "cuda":
        if place.index is None:
            place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        cases = cached_on_device(cases, place)
    return held_in_memory(cases)


def kept_bytes(case: StoredCase) -> int:
    """Return the bytes that image, labels and origins of a case take when unpacked.

    Examples
    --------
    >>> image, labels = np.zeros((1, 2, 3, 4)), np.zeros((2, 3, 4))
    >>> kept_bytes(StoredCase.from_arrays("a", image, labels, spacing_mm=(1.0, 1.0, 1.0)))
    72
    """
    return sum(
        int(np.prod(array.shape)) * array.dtype.itemsize
        for array in (getattr(case, name) for name in _ARRAYS)
        if array is not None
    )


def held_in_memory(
    cases: Sequence[StoredCase], *, memory_bytes: int | None = None
) -> tuple[StoredCase, ...]:
    """Read the arrays of cases into memory, as many as fit.

    Parameters
    ----------
    cases : sequence of StoredCase
        As `read_stored_case(..., in_memory=False)` opens them. Those in memory or on a device
        already stay and count for nothing.
    memory_bytes : int, optional
        Memory that all of them may take; None: 0.8 of what is free.

    Returns
    -------
    tuple of StoredCase
        In the given order. From the first one that does not fit any more, cases stay where they
        were: batches are the same, only slower to read.
    """
    if memory_bytes is None:
        free = available_bytes()
        memory_bytes = None if free is None else int(_SHARE * free)
    mapped = [not isinstance(case.image, np.ndarray | torch.Tensor) for case in cases]
    result, left = [], memory_bytes
    for case, is_mapped in zip(cases, mapped, strict=True):
        if is_mapped and left is not None:
            left -= kept_bytes(case)
        fits = is_mapped and (left is None or left >= 0)
        result.append(_unpacked(case) if fits else case)
    return tuple(result)


def cached_on_device(
    cases: Iterable[StoredCase], device: torch.device | str, *, memory_bytes: int | None = None
) -> tuple[StoredCase, ...]:
    """Put the arrays of cases on a device, as many as fit; batches are then cut there.

    Parameters
    ----------
    cases : iterable of StoredCase
    device : torch.device or str
        Such as ``"cuda"``.
    memory_bytes : int, optional
        Memory of the device that all of them may take; None: half of what is free on a CUDA device,
        so that the net finds room, and no limit elsewhere.

    Returns
    -------
    tuple of StoredCase
        In the given order. From the first one that does not fit any more, cases stay where they
        were; their patches are sent to the device one by one.

    Notes
    -----
    An image takes 2 bytes a voxel, labels and origins 1 each: 20 MB for a case at Swift's spacing.
    """
    place = torch.device(device)
    if memory_bytes is None and place.type == "cuda":
        memory_bytes = torch.cuda.mem_get_info(place)[0] // 2
    result, left = [], memory_bytes
    for case in cases:
        if left is not None:
            left -= kept_bytes(case)
        fits = left is None or left >= 0
        result.append(_moved(case, place) if fits else case)
    return tuple(result)


def _unpacked(case: StoredCase) -> StoredCase:
    return _with_arrays(case, lambda array: array[:])


def _moved(case: StoredCase, device: torch.device) -> StoredCase:
    return _with_arrays(
        case, lambda array: torch.from_numpy(np.ascontiguousarray(array[:])).to(device)
    )


def _with_arrays(case: StoredCase, change: Callable[[Any], Any]) -> StoredCase:
    arrays: dict[str, Any] = {name: getattr(case, name) for name in _ARRAYS}
    return dataclasses.replace(
        case, **{name: change(array) for name, array in arrays.items() if array is not None}
    )
