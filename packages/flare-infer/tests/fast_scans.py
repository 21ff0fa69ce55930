"""CT made by hand for the shortcuts, and a net that knows it voxel by voxel."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from flare_infer.backends.choice import Choice
from flare_infer.fast import FastSettings
from flare_infer.model import Model
from flare_infer.predictor import Predictor
from flare_io.geometry import Geometry
from flare_io.volume import Volume

LIVER_HU, TUMOR_HU = 150, 250
SPACING_MM = (4.0, 2.0, 2.0)


class VoxelNet:
    """Liver near 150 HU, tumor near 250, nothing else: windows cannot disagree."""

    def __init__(self):
        self.windows = []

    def __call__(self, window):
        self.windows.append(window.copy())
        value = window[:, 0]
        liver, tumor = (4 - 16 * abs(value - k) for k in (1, 2))
        return np.stack([0 * value, liver, 0 * value - 9, tumor], axis=1).astype(np.float32)


def predictor_of(spec, net, fast=None):
    """A predictor of the fixture's spec with a net of our own."""
    model = Model(folder=None, spec=spec, members=1, parameters=1, macs=1, weights_sha256="")
    nets = SimpleNamespace(choice=Choice(device="cpu"), by_layer=lambda mode: ((net,),))
    return Predictor(model, nets, fast=fast or FastSettings())


def labels_and_count(spec, ct, fast):
    """The labels of a scan under some settings, and how many windows were looked at."""
    net = VoxelNet()
    labels = predictor_of(spec, net, fast).predict(ct, mode="fast")
    return labels.array, len(net.windows)


def scan(shape, *, body, organs=(), spacing_mm=SPACING_MM):
    """A block of tissue in air, with blocks of other values in it; blocks are three slices."""
    array = np.random.default_rng(0).normal(-1000, 20, shape)
    array[body] = np.random.default_rng(1).normal(0, 10, shape)[body]
    for place, value in organs:
        array[place] = value
    return Volume(array.astype(np.int16), Geometry(spacing_mm))


def block(*sides):
    """Three slices from three pairs."""
    return tuple(slice(a, b) for a, b in sides)


def without(spec, **windows):
    """The spec with other windows and no resampling of its own grid."""
    return replace(spec, windows=replace(spec.windows, mirror_axes=(), **windows))
