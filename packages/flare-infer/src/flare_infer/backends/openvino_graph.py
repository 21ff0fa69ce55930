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

__all__ = ["Ranges", "Tensors", "build_graph", "build_observer"]

Tensors = Mapping[str, NDArray[np.float32]]
Ranges = Mapping[str, tuple[float, float]]
"""From a convolution to the least and the largest number that it is given."""

_EPSILON = 1e-5
_NEGATIVE_SLOPE = np.array([0.01], dtype=np.float32)
_ONE: Size = (1, 1, 1)
# Steps of eight bits; one less for weights, to be the same on both sides of 0.
_ACTIVATION_LEVELS, _WEIGHT_LEVELS = 256, 255


def build_graph(
    config: NetConfig, tensors: Tensors, patch: Sequence[int], ranges: Ranges | None = None
) -> Any:
    """Return the network for windows of one size.

    Parameters
    ----------
    config : NetConfig
    tensors : mapping of str to float32 array
        By the names of ``flare_nets.build_net(config).state_dict()``.
    patch : (3,) int
        Size of a window.
    ranges : mapping, optional
        Convolutions that compute in int8: what they are given is rounded to 256 steps of its range,
        their weights to 255 steps a channel.

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
    net = _Net(config, tensors, ranges or {})
    window = opset.parameter([1, config.in_channels, *size], openvino.Type.f32)
    logits = net.logits(window)
    net.refuse_unknown()
    return openvino.Model([logits], [window])


def build_observer(
    config: NetConfig, tensors: Tensors, patch: Sequence[int]
) -> tuple[Any, tuple[str, ...]]:
    """Return a network that also says what its convolutions are given, and their names.

    The first convolution and the heads are not among them: the image has more than 256 steps, and
    logits are what decides. Nor are transposed ones, for which OpenVINO has no int8 on a CPU.

    Returns
    -------
    openvino.Model
        From (1, in_channels, z, y, x) to the logits, and to the least and the largest number of
        each convolution, in their order.
    names : tuple of str
    """
    net = _Net(config, tensors, {})
    window = opset.parameter([1, config.in_channels, *patch], openvino.Type.f32)
    logits = net.logits(window)
    axes = _constant(np.arange(5))
    names = tuple(net.inputs)[1:]
    ends = [
        reduce(net.inputs[name], axes)
        for name in names
        for reduce in (opset.reduce_min, opset.reduce_max)
    ]
    return openvino.Model([logits, *ends], [window]), names


class _Net:
    """Nodes of the layers of one net; remembers which tensors it took."""

    def __init__(self, config: NetConfig, tensors: Tensors, ranges: Ranges) -> None:
        self._config, self._tensors, self._ranges = config, tensors, ranges
        self._known: set[str] = set()
        self.inputs: dict[str, Any] = {}

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
            weight = weight * factor[:, None, None, None, None]
            x = self._convolution(x, name, weight, kernel, stride)
            x = opset.add(x, _per_channel((offset - mean) * factor + shift))
        else:
            x = self._convolution(x, name, weight, kernel, stride)
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
        x = opset.convolution(x, _constant(weight), [1] * 3, [0] * 3, [0] * 3, [1] * 3)
        if self._config.head_bias:
            x = opset.add(x, _per_channel(self._take("heads.0.bias", channels)))
        return x

    def _convolution(
        self, x: Any, name: str, weight: NDArray[np.float32], kernel: Size, stride: Size
    ) -> Any:
        x, filters = self._rounded(x, name, weight)
        padding = [size // 2 for size in kernel]
        return opset.convolution(x, filters, list(stride), padding, padding, list(_ONE))

    def _rounded(self, x: Any, name: str, weight: NDArray[np.float32]) -> tuple[Any, Any]:
        """Return input and weights of a convolution, as int8 would hold them if it has a range."""
        self.inputs[name] = x
        filters = _constant(weight)
        if name not in self._ranges:
            return x, filters
        low, high = (np.float32(end) for end in self._ranges[name])
        most = np.abs(weight).max(axis=(1, 2, 3, 4), keepdims=True)
        most = np.maximum(most, np.finfo(np.float32).tiny)
        return (
            _in_steps(x, low, high, _ACTIVATION_LEVELS),
            _in_steps(filters, -most, most, _WEIGHT_LEVELS),
        )


_KINDS = ("weight", "bias")


def _in_steps(x: Any, low: Any, high: Any, levels: int) -> Any:
    # OpenVINO reads this pattern as the request to compute in eight bits.
    ends = [_constant(np.asarray(end, dtype=np.float32)) for end in (low, high)]
    return opset.fake_quantize(x, *ends, *ends, levels)


def _per_channel(values: NDArray[np.float32]) -> Any:
    return _constant(values.reshape(1, -1, 1, 1, 1))


def _leaky_relu(x: Any) -> Any:
    return opset.prelu(x, _constant(_NEGATIVE_SLOPE))


def _constant(values: NDArray[Any]) -> Any:
    # Left to the operations, arrays become constants by way of lists, which is slow.
    return opset.constant(values)
