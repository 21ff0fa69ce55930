"""Networks on the CPU by OpenVINO; a process that runs them never loads torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.backends.choice import MissingError, Precision
from flare_infer.backends.openvino_graph import build_graph
from flare_infer.backends.openvino_import import openvino
from flare_infer.errors import ModelError
from flare_infer.model import Model
from flare_infer.sliding import Net
from flare_infer.weights_file import read_members

__all__ = ["CORE", "load"]

# One for the process, for good. Each one's plugin for the CPU gives the thread a stack for signals.
# Of two, the second to go puts back that of the first, freed by then: the next signal is a crash.
CORE = openvino.Core()


def load(model: Model, *, precision: Precision) -> tuple[Net, ...]:
    """Return the members of a model, ready to run on its windows.

    Parameters
    ----------
    model : Model
    precision : {"float32", "bfloat16"}
        Of products and of what lies between layers; input and logits are float32.

    Raises
    ------
    ModelError
        If the tensors do not fit the net.
    MissingError
        If the processor has no bfloat16.

    Notes
    -----
    Cost: about 0.1 s for a net of 3 M parameters. A network that OpenVINO has written down takes
    as long to read back, so nothing is cached.
    """
    if precision == "bfloat16" and "BF16" not in CORE.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise MissingError(
            "precision bfloat16 needs a processor with AVX512-BF16 or AMX; use float32"
        )
    spec = model.spec
    nets = []
    for number, tensors in enumerate(read_members(model.weights_file, model.members)):
        try:
            graph = build_graph(spec.net, tensors, spec.windows.patch)
        except ValueError as error:
            raise ModelError(
                model.weights_file, f"tensors of member {number} do not fit the net: {error}"
            ) from error
        nets.append(_array_net(CORE.compile_model(graph, "CPU", dict(_settings(precision)))))
    return tuple(nets)


def _settings(precision: Precision) -> Iterator[tuple[str, Any]]:
    yield "INFERENCE_PRECISION_HINT", {"float32": "f32", "bfloat16": "bf16"}[precision]
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
