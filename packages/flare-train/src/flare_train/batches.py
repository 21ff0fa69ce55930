"""Batches as a pure function of settings, cases and iteration, built ahead by threads if wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flare_train.config import TrainConfig
from flare_train.sampling import cut_patch, draw_places
from flare_train.store import StoredCase

__all__ = ["Batch", "build_batch", "channel_of_label", "iterate_batches"]


@dataclass(frozen=True)
class Batch:
    """What one iteration learns from.

    Parameters
    ----------
    images : (b, c, z, y, x) float32 tensor
    targets : (b, z, y, x) uint8 tensor
        Channel of each voxel, not its label id.
    annotated : (b, classes) bool tensor
        Channels that the sample's case annotates; the background is always among them.
    case_ids : tuple of str
    """

    images: Tensor
    targets: Tensor
    annotated: Tensor
    case_ids: tuple[str, ...]


@lru_cache(maxsize=8)
def channel_of_label(classes: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the table of 256 entries from label id to output channel; other ids give 0.

    Examples
    --------
    >>> channel_of_label((0, 3, 14))[[0, 3, 14, 5]].tolist()
    [0, 1, 2, 0]
    """
    table = np.zeros(256, np.uint8)
    table[list(classes)] = np.arange(len(classes))
    table.flags.writeable = False
    return table


def build_batch(cases: Sequence[StoredCase], config: TrainConfig, iteration: int) -> Batch:
    """Read the patches of one iteration, not yet augmented.

    Parameters
    ----------
    cases : sequence of StoredCase
        The training cases, always in the same order.
    config : TrainConfig
        Patch, batch, sampling and seed.
    iteration : int
        Counted from 0. Equal arguments give an equal batch.

    Notes
    -----
    Where a case is smaller than the patch, image and label are padded with 0, as at inference.
    """
    places = draw_places(
        cases,
        batch=config.batch,
        patch=config.patch,
        foreground_share=config.sampling.foreground_share,
        seed=config.seed,
        iteration=iteration,
    )
    chosen = [cases[place.case] for place in places]
    table = channel_of_label(config.classes)
    images = [
        cut_patch(case.image, place.start, config.patch)
        for case, place in zip(chosen, places, strict=True)
    ]
    targets = [
        table[cut_patch(case.labels, place.start, config.patch)]
        for case, place in zip(chosen, places, strict=True)
    ]
    annotated = [
        [label == 0 or label in case.annotated for label in config.classes] for case in chosen
    ]
    return Batch(
        images=torch.from_numpy(np.stack(images).astype(np.float32)),
        targets=torch.from_numpy(np.stack(targets)),
        annotated=torch.tensor(annotated),
        case_ids=tuple(case.id for case in chosen),
    )


def iterate_batches(
    build: Callable[[int], Batch], start: int, stop: int, *, workers: int = 0
) -> Iterator[Batch]:
    """Yield the batches of the iterations from `start` up to `stop`, in order.

    Parameters
    ----------
    build : callable
        Iteration to batch, safe to call from several threads at once.
    start, stop : int
        First iteration and the one after the last.
    workers : int, optional
        Threads that build ahead; 0 builds each batch when asked for it. The batches are the same.

    Examples
    --------
    >>> list(iterate_batches(lambda iteration: iteration * 10, 2, 5, workers=2))
    [20, 30, 40]
    """
    if workers == 0:
        yield from map(build, range(start, stop))
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="batch") as pool:
        ahead: deque[Future[Batch]] = deque()
        try:
            for iteration in range(start, stop):
                ahead.append(pool.submit(build, iteration))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
