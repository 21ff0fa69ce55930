"""The networks of a model and its overlays, loaded once for each mode that is asked for."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from flare_infer.backends.choice import Choice, MissingError
from flare_infer.model import Model
from flare_infer.sliding import Net
from flare_infer.spec import Mode

__all__ = ["WarmNets", "require_openvino"]

logger = logging.getLogger(__name__)


class WarmNets:
    """Networks by layer and mode; threads may share it.

    Parameters
    ----------
    model : Model
    choice : Choice
        Where they run. Where OpenVINO is there by chance and cannot be loaded, it becomes torch.
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
            self._nets[key] = self._load(layer, mode)
        return self._nets[key]

    def _load(self, model: Model, mode: Mode) -> tuple[Net, ...]:
        if self.choice.backend_for(mode) == "openvino" and self._openvino_loads():
            from flare_infer.backends import openvino

            return openvino.load(model, precision=self.choice.precision_for(mode))
        from flare_infer.backends import torch

        return torch.load(model, device=self.choice.device, mode=mode)

    def _openvino_loads(self) -> bool:
        """Choose torch for good where OpenVINO is broken and was not asked for."""
        try:
            require_openvino()
        except MissingError as error:
            if self.choice.needs_openvino:
                raise
            logger.warning("torch runs instead: %s", error)
            self.choice = replace(self.choice, backend="torch")
            return False
        return True


def require_openvino() -> None:
    """Load the library that is installed.

    Raises
    ------
    MissingError
        If it is broken.
    """
    try:
        import flare_infer.backends.openvino_import  # noqa: F401 -- to see whether it can be
    except ImportError as error:
        raise MissingError(
            f"OpenVINO cannot be loaded: {error}; install it anew or give backend torch"
        ) from error
