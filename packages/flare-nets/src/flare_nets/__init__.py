"""The U-Nets of five published CT systems, their cost, and adapters for nnU-Net weights.

Public names load on first use: importing the package, a config or a preset does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_nets.adapters import (
        ImportedWeights,
        WeightsReport,
        export_weights,
        import_weights,
    )
    from flare_nets.build import build_net
    from flare_nets.channels_last import use_channels_last
    from flare_nets.config import NetConfig
    from flare_nets.cost import Cost, LayerCost, count_cost
    from flare_nets.errors import WeightsError
    from flare_nets.plain import PlainUNet
    from flare_nets.plans import config_from_plans
    from flare_nets.presets import Preset, preset, preset_names
    from flare_nets.residual import ResidualUNet
    from flare_nets.unet import UNet

__all__ = [
    "Cost",
    "ImportedWeights",
    "LayerCost",
    "NetConfig",
    "PlainUNet",
    "Preset",
    "ResidualUNet",
    "UNet",
    "WeightsError",
    "WeightsReport",
    "build_net",
    "config_from_plans",
    "count_cost",
    "export_weights",
    "import_weights",
    "preset",
    "preset_names",
    "use_channels_last",
]

_HOMES = {
    "Cost": "cost",
    "ImportedWeights": "adapters",
    "LayerCost": "cost",
    "NetConfig": "config",
    "PlainUNet": "plain",
    "Preset": "presets",
    "ResidualUNet": "residual",
    "UNet": "unet",
    "WeightsError": "errors",
    "WeightsReport": "adapters",
    "build_net": "build",
    "config_from_plans": "plans",
    "count_cost": "cost",
    "export_weights": "adapters",
    "import_weights": "adapters",
    "preset": "presets",
    "preset_names": "presets",
    "use_channels_last": "channels_last",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Loaded for the version alone: it brings the parser of e-mails.
        from importlib.metadata import version

        return version("flare-nets")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
