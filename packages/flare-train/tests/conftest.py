import dataclasses
import gc
import json
import os
import traceback

import numpy as np
import pytest
import torch

from flare_io.intensity import Intensity
from flare_io.preprocessing import Preprocessing
from flare_nets.config import NetConfig
from flare_train.config import (
    AugmentConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from flare_train.randomness import stream
from flare_train.run import RunConfig
from flare_train.store import StoredCase

# Nets this small only lose by sharing work among threads.
torch.set_num_threads(1)

NET = NetConfig(
    architecture="plain",
    in_channels=1,
    out_channels=3,
    features=(4, 8),
    kernels=((3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (2, 2, 2)),
    convs=(1, 1),
    decoder_convs=(1,),
    up_bias=False,
    head_bias=False,
)


def _config(**changes) -> TrainConfig:
    config = TrainConfig(
        net=NET,
        classes=(0, 1, 14),
        patch=(8, 12, 12),
        epochs=4,
        iterations_per_epoch=5,
        validate_every=2,
        checkpoint_every=2,
        optimizer=OptimizerConfig(kind="adamw", learning_rate=1e-2),
        schedule=ScheduleConfig(unit="iteration"),
        augment=AugmentConfig.preset("light"),
    )
    return dataclasses.replace(config, **changes)


def _case(index: int, *, annotated=(1, 14), shape=(10, 16, 14)) -> StoredCase:
    """Return a noisy image with a bright ball, label 1, and a dark box, label 14."""
    rng = stream(99, index)
    labels = np.zeros(shape, np.uint8)
    center = [int(rng.integers(3, size - 3)) for size in shape]
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    labels[(z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2 <= 9] = 1
    corner = [int(rng.integers(0, size - 3)) for size in shape]
    labels[tuple(slice(first, first + 3) for first in corner)] = 14
    image = np.choose(labels // 7 + (labels == 1), [0.0, 2.0, -2.0])
    image = image + 0.3 * rng.standard_normal(shape)
    return StoredCase.from_arrays(
        f"case_{index}",
        image[None].astype(np.float32),
        labels,
        spacing_mm=(3.0, 2.0, 2.0),
        annotated=frozenset(annotated),
        key=f"key {index}",
    )


@pytest.fixture(scope="session")
def make_config():
    return _config


@pytest.fixture(scope="session")
def make_case():
    return _case


@pytest.fixture(scope="session")
def cases():
    return [_case(index) for index in range(4)]


@pytest.fixture(scope="session")
def validation():
    return [_case(index) for index in range(10, 12)]


@pytest.fixture
def config():
    return _config()


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory):
    """Return a dataset folder of six training and two held-out phantoms, all classes in truthTr."""
    from flare_io.phantom import write_phantom_dataset

    folder = tmp_path_factory.mktemp("phantoms")
    return write_phantom_dataset(folder, preset="unit", cases=6, test_cases=2, seed=3)


def _run_config(**changes) -> RunConfig:
    """Return a short run on the phantom preset `unit`, all of whose classes are trained."""
    intensity = Intensity(scheme="ct", mean=-160.0, std=100.0, low=-160.0, high=240.0)
    train = TrainConfig(
        net=dataclasses.replace(NET, out_channels=6),
        classes=(0, 1, 2, 3, 11, 14),
        patch=(12, 24, 24),
        epochs=40,
        iterations_per_epoch=5,
        validate_every=4,
        checkpoint_every=2,
        optimizer=OptimizerConfig(kind="adamw", learning_rate=5e-3, weight_decay=1e-2),
        schedule=ScheduleConfig(unit="iteration"),
        loss=LossConfig(batch_dice=True, partial="naive"),
        augment=AugmentConfig.preset("light"),
    )
    return RunConfig(
        train=dataclasses.replace(train, **changes),
        preprocessing=Preprocessing(
            spacing_mm=(18.0, 14.0, 14.0),
            intensities=(intensity,),
            crop="none",
            image_order=1,
            anisotropy_threshold=float("inf"),
        ),
        validation_cases=1,
    )


@pytest.fixture(scope="session")
def make_run_config():
    return _run_config


@pytest.fixture(scope="session")
def run_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "run.json"
    path.write_text(json.dumps(_run_config().to_dict()))
    return path


def _fork(action) -> int:
    child = os.fork()
    if child:
        return child
    # What the parent left to the collector may wait for threads that only the parent has.
    gc.freeze()
    code = 1
    try:
        code = action() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.fixture(scope="session")
def fork():
    """Return a function that runs an action in a child process and returns its number."""
    return _fork
