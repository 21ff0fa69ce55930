"""Networks by torch, on the CPU or a GPU: the reference."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flare_infer.backends.choice import MissingError
from flare_infer.device.storage import device_member
from flare_infer.errors import ModelError
from flare_infer.model import Model
from flare_infer.sliding import Net
from flare_infer.spec import Mode
from flare_infer.weights_file import read_members
from flare_nets.build import build_net
from flare_nets.channels_last import use_channels_last

__all__ = ["find_device", "load"]

# torch asks for it at the first array of the process: large arrays in large pages. A window frees
# and takes the same arrays again and again, and to touch small pages anew is a quarter of its time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def find_device(name: str) -> str:
    """Return the device of a name, ``auto`` being the first GPU if there is one.

    Raises
    ------
    MissingError
        If the device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    if (torch.device(name).index or 0) >= count:
        raise MissingError(f"device {name} is not there, found {count} GPUs; use --device cpu")
    return name


def load(model: Model, *, device: str, mode: Mode) -> tuple[Net, ...]:
    """Return the members of a model, ready to run on its windows.

    Parameters
    ----------
    model : Model
    device : str
        ``"cpu"`` or a CUDA device.
    mode : {"exact", "fast"}
        Fast on the CPU keeps channels innermost, which rounds otherwise. Fast on a GPU leaves the
        weights on the host until the first window, see `flare_infer.device`.

    Raises
    ------
    ModelError
        If the tensors do not fit the net.
    """
    place = torch.device(device)
    nets: list[Net] = []
    for number, tensors in enumerate(read_members(model.weights_file, model.members)):
        net = build_net(model.spec.net, initialization="none", device="meta")
        try:
            net.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, assign=True)
        except RuntimeError as error:
            raise ModelError(
                model.weights_file, f"tensors of member {number} do not fit the net: {error}"
            ) from error
        net = net.eval().requires_grad_(False)
        if mode == "fast" and place.type == "cuda":
            nets.append(device_member(net, place))
            continue
        net = net.to(place)
        if mode == "fast":
            net = use_channels_last(net)
        nets.append(_array_net(net, place))
    return tuple(nets)


def _array_net(module: torch.nn.Module, device: torch.device) -> Net:
    def run(windows: NDArray[np.float32]) -> NDArray[Any]:
        # nnU-Net runs half precision on CUDA and float32 on the CPU.
        precision = torch.autocast("cuda") if device.type == "cuda" else nullcontext()
        with torch.inference_mode(), precision:
            logits: NDArray[Any] = module(torch.from_numpy(windows).to(device)).cpu().numpy()
        return logits

    return run
