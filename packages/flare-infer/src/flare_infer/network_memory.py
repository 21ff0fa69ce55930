"""What networks take of host memory with the library that runs them, from their descriptions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flare_infer.backends.choice import Choice
from flare_infer.processor import has_bfloat16
from flare_infer.spec import Mode
from flare_nets.config import NetConfig

__all__ = ["Library", "NetworkMemory", "library_of", "network_memory"]

_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Library:
    """What a library holds beside the tensors of a network.

    Parameters
    ----------
    runtime_mib : int
        Of a process that has loaded a model of next to no weights: interpreter, NumPy, the library.
    weight_copies : float
        Float32 copies of the weights that stay.
    value_bytes : int
        Of a number between two layers.
    keeps : bool
        Whether the place of activations stays from window to window.
    at_once : int
        How many times the features of a level live where most do.
    narrowest : int
        A level of fewer features takes as much as one of so many.
    own_mib : int
        Code that is loaded with the first window, scratch, and what stays of freed activations.
    """

    runtime_mib: int
    weight_copies: float
    value_bytes: int
    keeps: bool
    at_once: int
    narrowest: int
    own_mib: int


@dataclass(frozen=True)
class NetworkMemory:
    """MiB of one network: what stays between windows, and what comes on top within one."""

    held_mib: float
    passing_mib: float


# Fitted to single windows of nets of 8 to 32 features and 0.3 to 0.8 million voxels on a processor
# with AVX-512, two threads. At the first convolution behind a concatenation live its input (twice
# the features), its output and the normalized output. In the default order of channels oneDNN
# copies input and output to its own order, in blocks of 16; with channels innermost it copies for
# narrow nets only. Arrays begin at large pages.
_TORCH_EXACT = Library(
    runtime_mib=230,
    weight_copies=1,
    value_bytes=4,
    keeps=False,
    at_once=6,
    narrowest=16,
    own_mib=70,
)
_TORCH_FAST = Library(
    runtime_mib=230,
    weight_copies=1,
    value_bytes=4,
    keeps=False,
    at_once=4,
    narrowest=24,
    own_mib=45,
)
# The graph's own weights, and those that are laid out for the kernels in the kernels' type.
_OPENVINO, _OPENVINO_NARROW = (
    Library(
        runtime_mib=110,
        weight_copies=1 + value_bytes / 4,
        value_bytes=value_bytes,
        keeps=True,
        at_once=4,
        narrowest=1,
        own_mib=0,
    )
    for value_bytes in (4, 2)
)


def library_of(choice: Choice, mode: Mode) -> Library:
    """Return what is known of the library that runs a mode.

    Parameters
    ----------
    choice : Choice
        Of backend and precision; on a GPU what torch takes on the CPU, which is more.
    mode : {"exact", "fast"}

    Raises
    ------
    ValueError
        If the mode needs another backend than the one that was chosen.
    """
    if choice.backend_for(mode) == "torch":
        return _TORCH_EXACT if mode == "exact" else _TORCH_FAST
    precision = choice.precision_for(mode)
    # Between layers int8 is what the norms are in.
    narrow = precision == "bfloat16" or (precision == "int8" and has_bfloat16())
    return _OPENVINO_NARROW if narrow else _OPENVINO


def network_memory(net: NetConfig, patch: Sequence[int], library: Library) -> NetworkMemory:
    """Return what a network holds while it looks at windows; weights are not counted.

    Parameters
    ----------
    net : NetConfig
    patch : (3,) int
        Size of a window in voxels.
    library : Library

    Notes
    -----
    Most is alive at the decoder of some level, beside the skips of the levels above it. Logits are
    written in the library's order and then in the caller's.

    Examples
    --------
    >>> from flare_nets.presets import preset
    >>> openvino = library_of(Choice(device="cpu", backend="openvino", precision="float32"), "fast")
    >>> network_memory(preset("swift").config, (32, 128, 192), openvino)
    NetworkMemory(held_mib=288.0, passing_mib=90.0)
    """
    features = [max(count, library.narrowest) for count in net.features]
    voxels = [float(math.prod(patch))]
    for stride in net.strides[1:]:
        voxels.append(voxels[-1] / math.prod(stride))
    sizes = [count * n for count, n in zip(features, voxels, strict=True)]
    most = max(library.at_once * size + sum(sizes[:level]) for level, size in enumerate(sizes))
    channel = 4 * voxels[0] / _MIB
    activations = library.value_bytes * most / _MIB
    logits = 2 * net.out_channels * channel
    if library.keeps:
        return NetworkMemory(activations, logits + library.own_mib)
    at_head = net.features[0] * channel + logits
    return NetworkMemory(0, max(activations, at_head) + library.own_mib)
