"""A U-Net as an OpenVINO model, from its description and its tensors; torch takes no part.

The graph repeats `flare_nets.UNet.forward`, with two changes that leave the function as it is: a
bias in front of an instance norm is left out, because the norm takes the mean away, and a batch
norm is folded into its convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.backends.openvino_import import openvino, opset
from flare_nets.config import NetConfig, Size

__all__ = ["Tensors", "build_graph"]

Tensors = Mapping[str, NDArray[np.float32]]

_EPSILON = 1e-5
_NEGATIVE_SLOPE = np.array([0.01], dtype=np.float32)
_ONE: Size = (1, 1, 1)


def build_graph(config: NetConfig, tensors: Tensors, patch: Sequence[int]) -> Any:
    """Return the network for windows of one size.

    Parameters
    ----------
    config : NetConfig
    tensors : mapping of str to float32 array
        By the names of ``flare_nets.build_net(config).state_dict()``.
    patch : (3,) int
        Size of a window.

    Returns
    -------
    openvino.Model
        From (1, in_channels, z, y, x) to the logits of the finest head.

    Raises
    ------
    ValueError
        If a tensor is missing, unknown or of another shape, or the net cannot take the patch.

    Notes
    -----
    Cost: some milliseconds and one copy of the tensors. Heads of deep supervision are not built.
    """
    size = config.check_patch(patch)
    net = _Net(config, tensors)
    window = opset.parameter([1, config.in_channels, *size], openvino.Type.f32)
    logits = net.logits(window)
    net.refuse_unknown()
    return openvino.Model([logits], [window])


class _Net:
    """Nodes of the layers of one net; remembers which tensors it took."""

    def __init__(self, config: NetConfig, tensors: Tensors) -> None:
        self._config, self._tensors = config, tensors
        self._known: set[str] = set()

    def logits(self, x: Any) -> Any:
        """Return the node of the finest head."""
        config = self._config
        features, strides = config.features, config.strides
        skips = []
        before = config.in_channels
        if config.architecture == "residual":
            x = self._conv_norm(x, "stem", (before, features[0], config.kernels[0]))
            before = features[0]
        for s, (after, kernel, stride) in enumerate(
            zip(features, config.kernels, strides, strict=True)
        ):
            for k in range(config.convs[s]):
                step = stride if k == 0 else _ONE
                block = self._residual if config.architecture == "residual" else self._conv_norm
                x = block(x, f"encoder.{s}.{k}", (before, after, kernel), stride=step)
                before = after
            skips.append(x)
        skips.pop()
        for s in reversed(range(config.stages - 1)):
            x = opset.concat([self._upsampled(x, s), skips.pop()], 1)
            for k in range(config.decoder_convs[s]):
                channels = (2 if k == 0 else 1) * features[s]
                kernel = config.decoder_kernel_sizes[s]
                x = self._conv_norm(x, f"decoder.{s}.{k}", (channels, features[s], kernel))
        return self._head(x)

    def refuse_unknown(self) -> None:
        """Refuse tensors that no layer has."""
        others = {f"heads.{s}.{kind}" for s in range(self._config.heads) for kind in _KINDS}
        unknown = sorted(set(self._tensors) - self._known - others)
        if unknown:
            raise ValueError(f"tensors unexpected: {unknown[:5]}")

    def _take(self, name: str, *shape: int) -> NDArray[np.float32]:
        self._known.add(name)
        if name not in self._tensors:
            raise ValueError(f"tensor missing: {name}")
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tensor.shape}")
        return tensor

    def _conv_norm(
        self,
        x: Any,
        name: str,
        kind: tuple[int, int, Size],
        *,
        stride: Size = _ONE,
        bias: bool | None = None,
        activation: bool = True,
    ) -> Any:
        before, after, kernel = kind
        weight = self._take(f"{name}.conv.weight", after, before, *kernel)
        has_bias = self._config.conv_bias if bias is None else bias
        offset = self._take(f"{name}.conv.bias", after) if has_bias else np.zeros(after, np.float32)
        scale = self._take(f"{name}.norm.weight", after)
        shift = self._take(f"{name}.norm.bias", after)
        if self._config.norm == "batch":
            mean = self._take(f"{name}.norm.running_mean", after)
            variance = self._take(f"{name}.norm.running_var", after)
            self._known.add(f"{name}.norm.num_batches_tracked")
            factor = scale / np.sqrt(variance + np.float32(_EPSILON))
            x = _convolution(x, weight * factor[:, None, None, None, None], kernel, stride)
            x = opset.add(x, _per_channel((offset - mean) * factor + shift))
        else:
            x = _convolution(x, weight, kernel, stride)
            x = opset.mvn(x, _constant(np.array([2, 3, 4])), True, _EPSILON, "inside_sqrt")
            x = opset.add(opset.multiply(x, _per_channel(scale)), _per_channel(shift))
        return _leaky_relu(x) if activation else x

    def _residual(self, x: Any, name: str, kind: tuple[int, int, Size], *, stride: Size) -> Any:
        before, after, kernel = kind
        out = self._conv_norm(x, f"{name}.first", kind, stride=stride)
        out = self._conv_norm(out, f"{name}.second", (after, after, kernel), activation=False)
        if stride != _ONE:
            x = opset.avg_pool(x, list(stride), [0] * 3, [0] * 3, list(stride), True)
        if before != after:
            skip = (before, after, _ONE)
            x = self._conv_norm(x, f"{name}.skip", skip, bias=False, activation=False)
        return _leaky_relu(opset.add(out, x))

    def _upsampled(self, x: Any, s: int) -> Any:
        features, stride = self._config.features, self._config.strides[s + 1]
        weight = self._take(f"up.{s}.weight", features[s + 1], features[s], *stride)
        x = opset.convolution_backprop_data(x, _constant(weight), list(stride))
        if self._config.up_bias:
            x = opset.add(x, _per_channel(self._take(f"up.{s}.bias", features[s])))
        return x

    def _head(self, x: Any) -> Any:
        channels = self._config.out_channels
        weight = self._take("heads.0.weight", channels, self._config.features[0], 1, 1, 1)
        x = _convolution(x, weight, _ONE, _ONE)
        if self._config.head_bias:
            x = opset.add(x, _per_channel(self._take("heads.0.bias", channels)))
        return x


_KINDS = ("weight", "bias")


def _convolution(x: Any, weight: NDArray[np.float32], kernel: Size, stride: Size) -> Any:
    padding = [size // 2 for size in kernel]
    return opset.convolution(x, _constant(weight), list(stride), padding, padding, list(_ONE))


def _per_channel(values: NDArray[np.float32]) -> Any:
    return _constant(values.reshape(1, -1, 1, 1, 1))


def _leaky_relu(x: Any) -> Any:
    return opset.prelu(x, _constant(_NEGATIVE_SLOPE))


def _constant(values: NDArray[Any]) -> Any:
    # Left to the operations, arrays become constants by way of lists, which is slow.
    return opset.constant(values)
