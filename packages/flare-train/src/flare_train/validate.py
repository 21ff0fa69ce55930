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
from flare_train.store import StoredCase

__all__ = ["predict_channels", "validate"]


def validate(
    net: UNet,
    cases: Sequence[StoredCase],
    config: TrainConfig,
    *,
    should_stop: Callable[[], bool] = lambda: False,
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

    Returns
    -------
    dict of int to float or None, or None
        By label id the Dice, averaged over the cases that annotate the label and where it occurs or
        was predicted; None where there is no such case. None in place of the dict when stopped.

    Notes
    -----
    What a case does not annotate enters no score, neither as missed nor as wrongly found.
    """
    table = channel_of_label(config.classes)
    scores: dict[int, list[float]] = {label: [] for label in config.classes[1:]}
    for case in cases:
        if should_stop():
            return None
        prediction = predict_channels(net, np.asarray(case.image[:], np.float32), config)
        reference = table[case.labels[:]]
        for channel, label in enumerate(config.classes[1:], start=1):
            if label not in case.annotated:
                continue
            predicted, present = prediction == channel, reference == channel
            size = int(predicted.sum()) + int(present.sum())
            if size:
                scores[label].append(2 * int((predicted & present).sum()) / size)
    return {label: float(np.mean(values)) if values else None for label, values in scores.items()}


def predict_channels(
    net: UNet, image: NDArray[np.float32], config: TrainConfig
) -> NDArray[np.uint8]:
    """Return the most likely channel of every voxel of a prepared image.

    Parameters
    ----------
    net : UNet
        Put in evaluation mode.
    image : (c, z, y, x) float32 array
        Any size; padded with 0 to the patch.

    Returns
    -------
    (z, y, x) uint8 array

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
    total = torch.zeros((len(config.classes), *padded.shape[1:]), device=device)
    count = torch.zeros(padded.shape[1:], device=device)
    for start in itertools.product(*grid):
        window = tuple(
            slice(first, first + length) for first, length in zip(start, config.patch, strict=True)
        )
        total[(slice(None), *window)] += _logits(net, padded[(slice(None), *window)], config)
        count[window] += 1
    channels = (total / count).argmax(0).to(torch.uint8).cpu().numpy()
    inside = tuple(
        slice(before, before + size) for (before, _), size in zip(pads, shape, strict=True)
    )
    result: NDArray[np.uint8] = channels[inside]
    return result


@torch.inference_mode()
def _logits(net: UNet, window: Tensor, config: TrainConfig) -> Tensor:
    device = next(net.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits: Tensor = net(window[None].to(device))[0]
    return logits.float()


def _starts(size: int, length: int) -> list[int]:
    """Even starts, half a window apart at most, the last one ending at the border."""
    steps = int(np.ceil((size - length) / (length / 2))) + 1
    return [round(start) for start in np.linspace(0, size - length, steps)]
