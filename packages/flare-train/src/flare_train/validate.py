"""Dice of whole cases, only for the classes that each case annotates."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from flare_nets.unet import UNet
from flare_train.batches import channel_of_label
from flare_train.config import TrainConfig
from flare_train.decision import decide
from flare_train.distributed import ALONE, World
from flare_train.precision import autocast
from flare_train.stored_case import IGNORED, StoredCase

__all__ = ["predict_classes", "validate"]


def validate(
    net: UNet,
    cases: Sequence[StoredCase],
    config: TrainConfig,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    world: World = ALONE,
) -> dict[int, float | None] | None:
    """Score a net on whole cases.

    Parameters
    ----------
    net : UNet
        Evaluated where its weights are.
    cases : sequence of StoredCase
        Cases that the net was not trained on.
    config : TrainConfig
        Classes, patch and precision.
    should_stop : callable, optional
        Asked before every case.
    world : World, optional
        The processes that share the cases; each gets the scores of all.

    Returns
    -------
    dict of int to float or None, or None
        By label id the Dice, averaged over the cases that annotate the label and where it occurs or
        was predicted; None where there is no such case. None in place of the dict when stopped, in
        whichever process.

    Notes
    -----
    What a case does not annotate enters no score, neither as missed nor as wrongly found. Voxels
    that nobody states anything about (255) count nowhere.
    """
    found = world.gather(_score_cases(net, cases[world.rank :: world.size], config, should_stop))
    scores: dict[int, list[float]] = {label: [] for label in config.classes[1:]}
    for part in found:
        if part is None:
            return None
        for label, values in part.items():
            scores[label] += values
    # Sorted: the mean does not depend on how many processes shared the cases.
    return {
        label: float(np.mean(sorted(values))) if values else None
        for label, values in scores.items()
    }


def _score_cases(
    net: UNet,
    cases: Sequence[StoredCase],
    config: TrainConfig,
    should_stop: Callable[[], bool],
) -> dict[int, list[float]] | None:
    table = channel_of_label(config.classes)
    scores: dict[int, list[float]] = {label: [] for label in config.classes[1:]}
    for case in cases:
        if should_stop():
            return None
        prediction = predict_classes(net, np.asarray(case.image[:], np.float32), config)
        reference = table[case.labels[:]]
        stated = reference != IGNORED
        for channel, label in enumerate(config.classes[1:], start=1):
            if label not in case.annotated:
                continue
            predicted, present = (prediction == channel) & stated, reference == channel
            size = int(predicted.sum()) + int(present.sum())
            if size:
                scores[label].append(2 * int((predicted & present).sum()) / size)
    return scores


def predict_classes(
    net: UNet, image: NDArray[np.float32], config: TrainConfig
) -> NDArray[np.uint8]:
    """Return the class of every voxel of a prepared image, by the head of ``config.loss``.

    Parameters
    ----------
    net : UNet
        Put in evaluation mode.
    image : (c, z, y, x) float32 array
        Any size; padded with 0 to the patch.

    Returns
    -------
    (z, y, x) uint8 array
        Index into ``config.classes``.

    Notes
    -----
    Windows of the training patch, half overlapping, logits averaged evenly. Quick and close to what
    flare-infer does; scores that are published come from flare-infer.
    """
    net.eval()
    device = next(net.parameters()).device
    shape = image.shape[1:]
    missing = [max(length - size, 0) for length, size in zip(config.patch, shape, strict=True)]
    pads = [(lack // 2, lack - lack // 2) for lack in missing]
    padded = F.pad(torch.from_numpy(image), [pad for pair in reversed(pads) for pad in pair])
    grid = [
        _starts(size, length) for size, length in zip(padded.shape[1:], config.patch, strict=True)
    ]
    total = torch.zeros((config.net.out_channels, *padded.shape[1:]), device=device)
    count = torch.zeros(padded.shape[1:], device=device)
    for start in itertools.product(*grid):
        window = tuple(
            slice(first, first + length) for first, length in zip(start, config.patch, strict=True)
        )
        total[(slice(None), *window)] += _logits(net, padded[(slice(None), *window)], config)
        count[window] += 1
    chosen = decide(total / count, config.loss, classes=config.classes).cpu().numpy()
    inside = tuple(
        slice(before, before + size) for (before, _), size in zip(pads, shape, strict=True)
    )
    result: NDArray[np.uint8] = chosen[inside]
    return result


@torch.inference_mode()
def _logits(net: UNet, window: Tensor, config: TrainConfig) -> Tensor:
    device = next(net.parameters()).device
    with autocast(config, device):
        logits: Tensor = net(window[None].to(device))[0]
    return logits.float()


def _starts(size: int, length: int) -> list[int]:
    """Even starts, half a window apart at most, the last one ending at the border."""
    steps = int(np.ceil((size - length) / (length / 2))) + 1
    return [round(start) for start in np.linspace(0, size - length, steps)]
