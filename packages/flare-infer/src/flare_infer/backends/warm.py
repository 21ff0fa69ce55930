"""The networks of a model and its overlays, loaded once for each mode that is asked for."""

from __future__ import annotations

import logging
import threading

from flare_infer.backends.choice import Choice
from flare_infer.model import Model
from flare_infer.sliding import Net
from flare_infer.spec import Mode

__all__ = ["WarmNets"]

logger = logging.getLogger(__name__)


class WarmNets:
    """Networks by layer and mode; threads may share it.

    Parameters
    ----------
    model : Model
    choice : Choice
        Where they run.
    """

    def __init__(self, model: Model, choice: Choice) -> None:
        self.model, self.choice = model, choice
        self._nets: dict[tuple[int, Mode], tuple[Net, ...]] = {}
        self._lock = threading.Lock()

    def by_layer(self, mode: Mode | None) -> tuple[tuple[Net, ...], ...]:
        """Return the members of each of `Model.layers`, loading them at the first call.

        Parameters
        ----------
        mode : {"fast", "exact"}, optional
            Each layer's default otherwise.

        Raises
        ------
        ModelError
            If the tensors do not fit the net.
        ValueError
            If the mode needs another backend than the one that was chosen.
        """
        layers = (layer for layer, _ in self.model.layers)
        with self._lock:
            return tuple(
                self._members(number, layer, mode or layer.spec.default_mode)
                for number, layer in enumerate(layers)
            )

    def _members(self, number: int, layer: Model, mode: Mode) -> tuple[Net, ...]:
        key = number, mode
        if key not in self._nets:
            self._nets[key] = _load(layer, self.choice, mode)
        return self._nets[key]


def _load(model: Model, choice: Choice, mode: Mode) -> tuple[Net, ...]:
    if choice.backend_for(mode) == "openvino":
        try:
            from flare_infer.backends import openvino
        except ImportError as error:
            if choice.backend == "openvino" or choice.precision in ("bfloat16", "int8"):
                raise
            logger.warning("OpenVINO cannot be loaded, torch runs instead: %s", error)
        else:
            return openvino.load(model, precision=choice.precision_for(mode))
    from flare_infer.backends import torch

    return torch.load(model, device=choice.device, mode=mode)
