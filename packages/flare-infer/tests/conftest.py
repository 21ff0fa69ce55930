from dataclasses import replace

import numpy as np
import pytest
import torch

from flare_infer.model import ModelSpec, write_model
from flare_infer.windows import WindowPlan
from flare_io.geometry import Geometry
from flare_io.intensity import Intensity
from flare_io.labels import label_table
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume
from flare_nets.build import build_net
from flare_nets.config import NetConfig


def tiny_net(*, out_channels=4, in_channels=1):
    return NetConfig(
        architecture="plain",
        in_channels=in_channels,
        out_channels=out_channels,
        features=(4, 8),
        kernels=((3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2)),
        convs=(1, 1),
        decoder_convs=(1,),
        deep_supervision=False,
    )


def random_weights(net, *, seed=0):
    torch.manual_seed(seed)
    state = build_net(net).state_dict()
    # Heads as He initializes them leave one class everywhere: spread them.
    return {k: v * (4 if k.startswith("heads") else 1) for k, v in state.items()}


@pytest.fixture
def spec():
    ct = Intensity(scheme="ct", mean=50.0, std=100.0, low=-200.0, high=300.0)
    return ModelSpec(
        name="tiny",
        net=tiny_net(),
        labels=label_table("flare23").subset((1, 3, 14)),
        preprocessing=Preprocessing(spacing_mm=(4.0, 2.0, 2.0), intensities=(ct,), crop="none"),
        windows=WindowPlan(patch=(8, 16, 16), mirror_axes=(0, 1, 2)),
    )


@pytest.fixture
def model_folder(tmp_path, spec):
    folder = tmp_path / "model"
    write_model(folder, spec, [random_weights(spec.net)])
    return folder


@pytest.fixture
def ct():
    """A smooth random CT: 12 x 30 x 26 voxels of 5 x 1.5 x 1.5 mm."""
    rng = np.random.default_rng(5)
    coarse = rng.normal(60, 120, size=(4, 6, 6))
    from scipy.ndimage import zoom

    array = zoom(coarse, (3, 5, 26 / 6), order=1).astype(np.int16)
    return Volume(array, Geometry((5.0, 1.5, 1.5), origin=(-30.0, 10.0, 20.0)))


@pytest.fixture
def with_regions(spec):
    return replace(spec, net=tiny_net(out_channels=3), regions=(14, 1, 3))
