"""Logits of a whole case from windows that overlap.

``exact`` repeats nnU-Net's arithmetic: its order of windows, its weights, float16 sums and
quotient. ``fast`` sums in float32 with weights that are an outer product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flare_infer.flare22 import Start, flare22_windows
from flare_infer.heads import Head
from flare_infer.spec import Mode
from flare_infer.windows import WindowPlan, gaussian_profiles, gaussian_weights

__all__ = ["Net", "ensemble_logits", "sliding_window"]

Net = Callable[[Tensor], Tensor]


@torch.inference_mode()
def ensemble_logits(
    nets: Sequence[Net],
    array: NDArray[np.float32],
    windows: WindowPlan,
    *,
    mode: Mode,
    mirror: bool = False,
    device: torch.device | str = "cpu",
    on_window: Callable[[], None] | None = None,
    head: Head | None = None,
) -> NDArray[Any]:
    """Return the mean logits of all members of an ensemble.

    Parameters
    ----------
    nets : sequence of callables
        (1, c, z, y, x) float32 to (1, classes, z, y, x).
    array : (c, z, y, x) float32 array
        A prepared case. Padded with 0 to at least one window, in equal parts on both sides.
    windows : WindowPlan
    mode : {"exact", "fast"}
        Arithmetic, see the module.
    mirror : bool
        Average over all combinations of the plan's mirror axes.
    device : torch.device
        Where the nets are.
    on_window : callable, optional
        Called after each window, for progress and cancelling (by raising).
    head : Head, optional
        How logits become labels; the layout ``flare22`` needs it.

    Returns
    -------
    (classes, z, y, x) array
        float16 in exact mode, float32 in fast mode, on the case's grid.
    """
    padded = windows.padded_shape(array.shape[1:])
    before = [(n - m) // 2 for n, m in zip(padded, array.shape[1:], strict=True)]
    after = [n - m - k for n, m, k in zip(padded, array.shape[1:], before, strict=True)]
    data = torch.from_numpy(
        np.pad(array, ((0, 0), *zip(before, after, strict=True))) if any(after) else array.copy()
    )
    total: Tensor | None = None
    for net in nets:
        logits = sliding_window(
            net,
            data,
            windows,
            mode=mode,
            mirror=mirror,
            device=device,
            on_window=on_window,
            head=head,
        )
        total = logits if total is None else total.add_(logits)
    if total is None:
        raise ValueError("nets must hold at least one net")
    if len(nets) > 1:
        total /= len(nets)
    inside = tuple(slice(k, k + n) for k, n in zip(before, array.shape[1:], strict=True))
    result: NDArray[Any] = total[(slice(None), *inside)].numpy()
    return result


def sliding_window(
    net: Net,
    data: Tensor,
    windows: WindowPlan,
    *,
    mode: Mode,
    mirror: bool = False,
    device: torch.device | str = "cpu",
    on_window: Callable[[], None] | None = None,
    head: Head | None = None,
) -> Tensor:
    """Return the logits of one net over data that is at least one window large.

    Parameters are those of `ensemble_logits`, with ``data`` a (c, z, y, x) float32 tensor on the
    CPU.

    Returns
    -------
    (classes, z, y, x) tensor
        On the CPU, where the sums are kept.

    Raises
    ------
    RuntimeError
        If float16 sums overflow in exact mode.
    ValueError
        If the layout needs a head and there is none.
    """
    device = torch.device(device)
    mirror_axes = windows.mirror_axes if mirror else ()

    def predict(start: Start) -> Tensor:
        place = tuple(slice(k, k + n) for k, n in zip(start, windows.patch, strict=True))
        window = data[(slice(None), *place)][None].contiguous().to(device)
        prediction = _mirrored(net, window, mirror_axes)[0].to("cpu")
        if on_window is not None:
            on_window()
        return prediction

    dtype = torch.float16 if mode == "exact" else torch.float32
    weights = torch.from_numpy(_weights(windows, mode))
    logits: Tensor | None = None
    norm = torch.zeros(data.shape[1:], dtype=dtype)
    with torch.inference_mode(), _precision(device):
        for start, prediction in _predictions(windows, data.shape[1:], predict, head):
            place = tuple(slice(k, k + n) for k, n in zip(start, windows.patch, strict=True))
            if logits is None:
                logits = torch.zeros((prediction.shape[0], *norm.shape), dtype=dtype)
            prediction = prediction * weights
            logits[(slice(None), *place)] += prediction
            norm[place] += weights
        if windows.layout == "flare22":
            # Where no window counted, the logits are 0: background, whatever the head.
            norm[norm == 0] = 1
        if logits is None:
            assert head is not None, "a grid has at least one window"
            logits = torch.zeros((len(head.labels), *norm.shape), dtype=dtype)
        logits /= norm
    # A sum beyond float16 shows as infinity; in float32 it cannot happen with finite weights.
    if mode == "exact" and bool(torch.isinf(logits).any()):
        raise RuntimeError("float16 sums overflowed in exact mode: run this model in fast mode")
    return logits


def _predictions(
    windows: WindowPlan,
    shape: Sequence[int],
    predict: Callable[[Start], Tensor],
    head: Head | None,
) -> Iterator[tuple[Start, Tensor]]:
    """Yield the windows that count, with their predictions, in the order of the sums."""
    if windows.layout == "grid":
        return ((start, predict(start)) for start in windows.starts(shape))
    if head is None:
        raise ValueError("head must be given: the layout flare22 looks at the labels of windows")

    def decide(prediction: Tensor) -> NDArray[Any]:
        return head.decide(prediction.float().numpy())

    return flare22_windows(windows, shape, predict=predict, decide=decide)


def _weights(windows: WindowPlan, mode: Mode) -> NDArray[Any]:
    if mode == "exact":
        return gaussian_weights(windows.patch).copy()
    z, y, x = gaussian_profiles(windows.patch)
    product: NDArray[np.float32] = (z[:, None, None] * y[None, :, None] * x[None, None, :]).astype(
        np.float32
    )
    return np.maximum(product, np.finfo(np.float32).tiny)


def _mirrored(net: Net, window: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the mean prediction over the window and all its mirror images."""
    prediction = net(window)
    dims = [axis + 2 for axis in axes]
    flips = [chosen for size in range(len(dims)) for chosen in combinations(dims, size + 1)]
    for flip in flips:
        prediction = prediction + torch.flip(net(torch.flip(window, flip)), flip)
    return prediction / (len(flips) + 1) if flips else prediction


def _precision(device: torch.device) -> Any:
    # nnU-Net runs half precision on CUDA and float32 on the CPU.
    return torch.autocast("cuda") if device.type == "cuda" else nullcontext()
