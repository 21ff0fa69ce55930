from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from flare_nets.config import NetConfig


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def config() -> NetConfig:
    """Three anisotropic stages with a different count of everything."""
    return NetConfig(
        architecture="plain",
        in_channels=2,
        out_channels=3,
        features=(4, 6, 8),
        kernels=((1, 3, 3), (3, 5, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 1)),
        convs=(1, 2, 3),
        decoder_convs=(2, 3),
    )


@pytest.fixture
def scatter() -> Callable[[torch.nn.Module], None]:
    """Move vectors off their start, where many are 0 or 1 and hide mistakes."""

    def run(net: torch.nn.Module) -> None:
        with torch.no_grad():
            for name, tensor in net.state_dict().items():
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 1.5)
                elif tensor.is_floating_point() and tensor.ndim == 1:
                    tensor.add_(0.3 * torch.randn_like(tensor))

    return run
