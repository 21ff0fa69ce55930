"""Segment CT with a model folder, or with an nnU-Net v2 model: same labels.

Public names load on first use: importing the package does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_infer.components import Components
    from flare_infer.errors import ModelError
    from flare_infer.fast import FastSettings
    from flare_infer.model import Model, Overlay, read_model, write_model
    from flare_infer.nnunet import import_nnunet
    from flare_infer.outcomes import Outcome
    from flare_infer.overlays import add_overlay
    from flare_infer.predictor import Predictor
    from flare_infer.spec import ModelSpec
    from flare_infer.windows import WindowPlan

__all__ = [
    "Components",
    "FastSettings",
    "Model",
    "ModelError",
    "ModelSpec",
    "Outcome",
    "Overlay",
    "Predictor",
    "WindowPlan",
    "add_overlay",
    "import_nnunet",
    "read_model",
    "write_model",
]

_HOMES = {
    "Components": "components",
    "FastSettings": "fast",
    "Model": "model",
    "ModelError": "errors",
    "ModelSpec": "spec",
    "Outcome": "outcomes",
    "Overlay": "model",
    "Predictor": "predictor",
    "WindowPlan": "windows",
    "add_overlay": "overlays",
    "import_nnunet": "nnunet",
    "read_model": "model",
    "write_model": "model",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Loaded for the version alone: it brings the parser of e-mails.
        from importlib.metadata import version

        return version("flare-infer")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
