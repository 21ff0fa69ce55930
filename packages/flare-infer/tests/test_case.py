from dataclasses import replace

import numpy as np
import pytest

from flare_infer.case import CaseSettings, Layer, layers_of, segment_case
from flare_infer.fast import FastSettings
from flare_infer.model import Model, Overlay
from flare_infer.stopwatch import Stopwatch
from flare_io.geometry import Geometry
from flare_io.volume import Volume

from .fast_scans import LIVER_HU, SPACING_MM, TUMOR_HU, VoxelNet


def liver_everywhere(window):
    return np.stack([window[:, 0] * 0 + (k == 1) for k in range(4)], axis=1).astype(np.float32)


def scan():
    """Liver in front of a tumor, soft tissue around: 10 x 20 x 18 voxels of the model's spacing."""
    hu = np.full((10, 20, 18), 50, np.int16)
    hu[2:8, 4:12, 3:9] = LIVER_HU
    hu[2:8, 4:12, 9:14] = TUMOR_HU
    return Volume(hu, Geometry(SPACING_MM), notes=("read",))


def settings(**changes):
    return CaseSettings(**{"watch": Stopwatch({}), "fast": FastSettings(), **changes})


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_one_layer_gives_its_labels_slab_by_slab_and_lets_the_volume_go(spec, mode):
    channels, slabs = [scan()], []
    labels = segment_case(
        channels,
        [Layer(spec, (VoxelNet(),), None)],
        settings(mode=mode),
        on_slab=lambda place, slab: slabs.append((place[0], slab.copy())),
    )
    hu = scan().array
    expected = np.select([hu == LIVER_HU, hu == TUMOR_HU], [1, 14], 0)
    assert np.array_equal(labels.array, expected)
    assert labels.array.dtype == np.uint8
    assert labels.geometry == scan().geometry
    assert channels == []
    assert len(slabs) > 1
    assert np.array_equal(np.concatenate([slab for _, slab in slabs]), expected)


def test_each_layer_paints_only_its_labels_and_the_result_comes_as_one_slab(spec):
    layers = [
        Layer(spec, (liver_everywhere,), None),
        Layer(replace(spec, default_mode="exact"), (VoxelNet(),), (14,)),
    ]
    channels, slabs = [scan()], []
    labels = segment_case(
        channels, layers, settings(), on_slab=lambda place, slab: slabs.append((place, slab))
    )
    # The upper layer's background and liver are dropped: below lies liver, everywhere.
    assert np.array_equal(labels.array, np.where(scan().array == TUMOR_HU, 14, 1))
    assert channels == []
    ((place, slab),) = slabs
    assert place == (slice(None),) * 3
    assert slab is labels.array


def test_shortcuts_are_those_of_fast_mode_alone(spec):
    long = Volume(np.full((24, 16, 16), 50, np.int16), Geometry(SPACING_MM))
    for mode, windows in (("exact", 5), ("fast", 3)):
        net = VoxelNet()
        fast = FastSettings(step=1.0, body=False, constant=False)
        segment_case([long], [Layer(spec, (net,), None)], settings(mode=mode, fast=fast))
        # Windows of 8 planes over 24: 0, 4, 8, 12, 16 with half steps, 0, 8, 16 with whole ones.
        assert len(net.windows) == windows


def test_layers_are_the_model_and_its_overlays_with_their_nets(spec):
    fields = {"folder": None, "members": 1, "parameters": 1, "macs": 1, "weights_sha256": ""}
    above = Model(spec=replace(spec, name="above"), **fields)
    overlay = Overlay(name="tumor", labels=(14,), sha256="", model=above)
    model = Model(spec=spec, overlays=(overlay,), **fields)
    low, high = layers_of(model, (("a", "b"), ("c",)), mirror=True)
    assert (low.spec.name, low.nets, low.painted) == ("tiny", ("a", "b"), None)
    assert (high.spec.name, high.nets, high.painted) == ("above", ("c",), (14,))


def test_mirroring_needs_axes_in_every_layer(spec):
    plain = replace(spec, windows=replace(spec.windows, mirror_axes=()))
    fields = {"folder": None, "members": 1, "parameters": 1, "macs": 1, "weights_sha256": ""}
    overlay = Overlay(name="t", labels=(14,), sha256="", model=Model(spec=plain, **fields))
    model = Model(spec=spec, overlays=(overlay,), **fields)
    assert len(layers_of(model, ((), ()))) == 2
    with pytest.raises(ValueError, match="trained with mirroring"):
        layers_of(model, ((), ()), mirror=True)
