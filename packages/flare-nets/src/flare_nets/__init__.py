"""The U-Nets of five published CT systems, their cost, and adapters for nnU-Net weights.

Public names load on first use: importing the package, a config or a preset does not load torch.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_nets.build import build_net
    from flare_nets.config import NetConfig
    from flare_nets.plain import PlainUNet
    from flare_nets.presets import Preset, preset, preset_names
    from flare_nets.residual import ResidualUNet
    from flare_nets.unet import UNet

__all__ = [
    "NetConfig",
    "PlainUNet",
    "Preset",
    "ResidualUNet",
    "UNet",
    "build_net",
    "preset",
    "preset_names",
]

_HOMES = {
    "NetConfig": "config",
    "PlainUNet": "plain",
    "Preset": "presets",
    "ResidualUNet": "residual",
    "UNet": "unet",
    "build_net": "build",
    "preset": "presets",
    "preset_names": "presets",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("flare-nets")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
