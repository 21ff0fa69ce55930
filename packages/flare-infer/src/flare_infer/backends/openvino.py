"""Networks on the CPU by OpenVINO; a process that runs them never loads torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flare_infer.backends.choice import MissingError, Precision
from flare_infer.backends.openvino_graph import Ranges, Tensors, build_graph, build_observer
from flare_infer.backends.openvino_import import openvino
from flare_infer.calibration import read_calibration
from flare_infer.errors import ModelError
from flare_infer.model import Model
from flare_infer.processor import has_int8
from flare_infer.sliding import Net
from flare_infer.weights_file import read_members

__all__ = ["CORE", "ObservedNet", "load", "observe", "require_int8"]

T = TypeVar("T")

# One for the process, for good. Each one's plugin for the CPU gives the thread a stack for signals.
# Of two, the second to go puts back that of the first, freed by then: the next signal is a crash.
CORE = openvino.Core()


def load(model: Model, *, precision: Precision) -> tuple[Net, ...]:
    """Return the members of a model, ready to run on its windows.

    Parameters
    ----------
    model : Model
    precision : {"float32", "bfloat16", "int8"}
        Of products and of what lies between layers; input and logits are float32. ``int8`` needs
        the model's calibration; its first and last layers, norms and transposed convolutions are
        in bfloat16 where the processor has it, in float32 else.

    Raises
    ------
    ModelError
        If the tensors do not fit the net, or there is no calibration of them.
    MissingError
        If the processor has no bfloat16, or no int8.

    Notes
    -----
    Cost: about 0.1 s for a net of 3 M parameters. A network that OpenVINO has written down takes
    as long to read back, so nothing is cached.
    """
    capable = "BF16" in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and not capable:
        raise MissingError(
            "precision bfloat16 needs a processor with AVX512-BF16 or AMX; use float32"
        )
    ranges: Sequence[Ranges | None] = [None] * model.members
    if precision == "int8":
        require_int8()
        ranges = read_calibration(model).ranges
    narrow = precision != "float32" and capable
    graphs = _graphs(
        model,
        lambda number, tensors: build_graph(
            model.spec.net, tensors, model.spec.windows.patch, ranges[number]
        ),
    )
    return tuple(_array_net(_compiled(graph, narrow=narrow)) for graph in graphs)


def require_int8() -> None:
    """Refuse a processor whose sums of int8 products overflow.

    Raises
    ------
    MissingError
        Naming what it must have.
    """
    if not has_int8():
        raise MissingError(
            "precision int8 needs a processor with AVX512-VNNI, AVX-VNNI or AMX; use float32"
        )


class ObservedNet:
    """A member in float32 that remembers what its convolutions were given."""

    def __init__(self, compiled: Any, names: Sequence[str]) -> None:
        self._request, self._names = compiled.create_infer_request(), names
        self._sums = np.zeros((len(names), 2))
        self.windows = 0

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[Any]:
        """Return the logits of a window."""
        logits, *ends = self._request.infer([windows]).values()
        self._sums += np.array([float(end) for end in ends]).reshape(-1, 2)
        self.windows += 1
        return np.array(logits)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return for each convolution the mean over windows of the least and the largest number."""
        means = self._sums / max(self.windows, 1)
        # A net that gives nothing but zeros has a range all the same.
        return {
            name: (float(low), float(max(high, low + 1e-6)))
            for name, (low, high) in zip(self._names, means, strict=True)
        }


def observe(model: Model) -> tuple[ObservedNet, ...]:
    """Return the members of a model in float32, watched; see `build_observer`."""
    graphs = _graphs(
        model,
        lambda _, tensors: build_observer(model.spec.net, tensors, model.spec.windows.patch),
    )
    return tuple(ObservedNet(_compiled(graph, narrow=False), names) for graph, names in graphs)


def _graphs(model: Model, build: Callable[[int, Tensors], T]) -> Iterator[T]:
    for number, tensors in enumerate(read_members(model.weights_file, model.members)):
        try:
            yield build(number, tensors)
        except ValueError as error:
            raise ModelError(
                model.weights_file, f"tensors of member {number} do not fit the net: {error}"
            ) from error


def _compiled(graph: Any, *, narrow: bool) -> Any:
    return CORE.compile_model(graph, "CPU", dict(_settings(narrow)))


def _settings(narrow: bool) -> Iterator[tuple[str, Any]]:
    yield "INFERENCE_PRECISION_HINT", "bf16" if narrow else "f32"
    yield "PERFORMANCE_HINT", "LATENCY"
    # Two processes would pin their threads to the same cores.
    yield "ENABLE_CPU_PINNING", False
    # The variable that torch and BLAS go by: who sets it shares the machine.
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if threads.isdecimal() and int(threads) > 0:
        yield "INFERENCE_NUM_THREADS", int(threads)


def _array_net(compiled: Any) -> Net:
    # One request for each thread: a request runs one window at a time.
    requests = threading.local()
    shape = tuple(compiled.output(0).shape)

    def run(windows: NDArray[np.float32]) -> NDArray[Any]:
        if not hasattr(requests, "mine"):
            requests.mine = compiled.create_infer_request()
        request = requests.mine
        logits = np.empty(shape, dtype=np.float32)
        request.set_input_tensor(openvino.Tensor(windows, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(logits, shared_memory=True))
        request.infer()
        return logits

    return run
