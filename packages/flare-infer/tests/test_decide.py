from dataclasses import replace

import numpy as np
import pytest

from flare_infer.components import Components
from flare_infer.decide import decide_labels
from flare_io.crop import Box
from flare_io.geometry import AxisOrder, Geometry
from flare_io.preparation import Preparation
from flare_io.resample import resample_image

from .conftest import tiny_net


def preparation(shape, cropped, *, spacing, cropped_spacing):
    return Preparation(
        source_shape=cropped,
        source_geometry=Geometry(cropped_spacing),
        order=AxisOrder((0, 1, 2), (False, False, False)),
        box=Box.whole(cropped),
        shape=shape,
        spacing_mm=spacing,
    )


def plain_formula(logits, prepared, *, coarse=None, dtype=np.float16):
    """Every channel resampled at full size in float64, as nnU-Net does it."""
    return np.stack(
        [
            resample_image(
                c.astype(np.float64), prepared.cropped_shape, order=1, separate_axis=coarse
            ).astype(dtype)
            for c in logits
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_exact_softmax_equals_the_plain_formula(spec, seed):
    rng = np.random.default_rng(seed)
    small, large = rng.integers(2, 12, 3), rng.integers(10, 40, 3)
    prepared = preparation(
        tuple(small.tolist()), tuple(large.tolist()), spacing=(2, 2, 2), cropped_spacing=(1, 1, 1)
    )
    logits = rng.normal(size=(4, *small)).astype(np.float16)
    found = decide_labels(logits, prepared, spec, mode="exact")
    index = plain_formula(logits, prepared).argmax(0)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray((0, 1, 3, 14))[index])


def test_thick_slices_are_repeated_not_blended(spec):
    prepared = preparation(
        (4, 6, 6), (8, 12, 12), spacing=(10.0, 2.0, 2.0), cropped_spacing=(5.0, 1.0, 1.0)
    )
    logits = np.random.default_rng(1).normal(size=(4, 4, 6, 6)).astype(np.float16)
    found = decide_labels(logits, prepared, spec, mode="exact")
    assert np.array_equal(found[0::2], found[1::2])
    index = plain_formula(logits, prepared, coarse=0).argmax(0)
    assert np.array_equal(found, np.asarray((0, 1, 3, 14))[index])


def test_downsampling_and_equal_grids(spec):
    rng = np.random.default_rng(2)
    for shape in ((9, 20, 15), (5, 7, 6)):
        prepared = preparation(shape, (5, 7, 6), spacing=(1, 1, 1), cropped_spacing=(2, 2, 2))
        logits = rng.normal(size=(4, *shape)).astype(np.float16)
        found = decide_labels(logits, prepared, spec, mode="exact")
        index = plain_formula(logits, prepared).argmax(0)
        assert np.array_equal(found, np.asarray((0, 1, 3, 14))[index])


def test_the_first_of_equal_logits_wins(spec):
    prepared = preparation((2, 2, 2), (4, 4, 4), spacing=(2, 2, 2), cropped_spacing=(1, 1, 1))
    logits = np.zeros((4, 2, 2, 2), np.float32)
    assert not decide_labels(logits, prepared, spec, mode="fast").any()
    logits[2:] = 1
    assert (decide_labels(logits, prepared, spec, mode="fast") == 3).all()


def test_regions_write_in_order_where_sigmoid_exceeds_half(with_regions):
    prepared = preparation((1, 1, 5), (1, 1, 5), spacing=(1, 1, 1), cropped_spacing=(1, 1, 1))
    logits = np.full((3, 1, 1, 5), -1.0, np.float16)
    logits[0, 0, 0] = [1, 1, 1, -1, 0]
    logits[1, 0, 0] = [-1, 1, 1, -1, 0]
    # The smallest float16 above 0: its float32 sigmoid rounds to 1/2 and does not exceed it.
    logits[2, 0, 0] = [-1, -1, 1, -1, np.float16(6e-8)]
    found = decide_labels(logits, prepared, with_regions, mode="exact")
    assert found.ravel().tolist() == [14, 1, 3, 0, 0]


def test_labels_above_255_take_two_bytes(spec):
    from flare_io.labels import LabelTable

    table = LabelTable.from_names("wide", {"a": 1, "b": 300, "c": 400})
    wide = replace(spec, labels=table)
    prepared = preparation((2, 2, 2), (2, 2, 2), spacing=(1, 1, 1), cropped_spacing=(1, 1, 1))
    logits = np.zeros((4, 2, 2, 2), np.float32)
    logits[3] = 1
    found = decide_labels(logits, prepared, wide, mode="fast")
    assert found.dtype == np.uint16
    assert (found == 400).all()


def test_cubic_logits_equal_the_plain_formula(spec):
    cubic = replace(spec, preprocessing=replace(spec.preprocessing, logits_order=3))
    prepared = preparation((3, 5, 4), (6, 9, 8), spacing=(2, 2, 2), cropped_spacing=(1, 1, 1))
    logits = np.random.default_rng(3).normal(size=(4, 3, 5, 4)).astype(np.float32)
    found = decide_labels(logits, prepared, cubic, mode="exact")
    whole = np.stack([resample_image(c, (6, 9, 8), order=3) for c in logits])
    assert np.array_equal(found, np.asarray((0, 1, 3, 14))[whole.argmax(0)])


def test_deciding_first_repeats_the_nearest_label(spec):
    prepared = preparation((2, 3, 4), (4, 6, 8), spacing=(2, 2, 2), cropped_spacing=(1, 1, 1))
    logits = np.random.default_rng(4).normal(size=(4, 2, 3, 4)).astype(np.float32)
    first = replace(spec, order="decide-resample")
    found = decide_labels(logits, prepared, first, mode="fast")
    coarse = np.asarray((0, 1, 3, 14))[logits.argmax(0)]
    assert np.array_equal(found, coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_deciding_first_with_linear_shares(spec):
    prepared = preparation((1, 1, 2), (1, 1, 8), spacing=(1, 1, 2), cropped_spacing=(1, 1, 1))
    logits = np.zeros((4, 1, 1, 2), np.float32)
    logits[1, 0, 0, 0] = 9  # the left voxel is 1, however large
    logits[2, 0, 0, 1] = 1  # the right one 3
    linear = replace(spec, order="decide-resample-linear")
    found = decide_labels(logits, prepared, linear, mode="fast")
    assert found.ravel().tolist() == [1, 1, 1, 1, 3, 3, 3, 3]
    # Logits interpolated instead move the border to where 9 (1 - t) = t.
    found = decide_labels(logits, prepared, spec, mode="fast")
    assert found.ravel().tolist() == [1, 1, 1, 1, 1, 1, 3, 3]


@pytest.mark.parametrize("order", ["resample-decide", "decide-resample"])
def test_islands_go_where_labels_are_decided(spec, order):
    prepared = preparation((1, 1, 8), (1, 1, 16), spacing=(1, 1, 2), cropped_spacing=(1, 1, 1))
    logits = np.zeros((4, 1, 1, 8), np.float32)
    logits[0] = 2.5
    logits[1, 0, 0, :4] = logits[1, 0, 0, 6] = 5
    # The island has one voxel of 2 mm3 on the network's grid, two of 1 mm3 on the other.
    for volume, kept in ((1.9, True), (2.5, False)):
        tidy = replace(spec, order=order, components=Components(min_share=1, min_mm3=volume))
        found = decide_labels(logits, prepared, tidy, mode="fast").ravel()
        assert (found[:8] == 1).all()
        assert bool(found[12:14].all()) is kept


def test_an_overlay_is_decided_alone(spec):
    hybrid = replace(spec, overlay=(14,))
    prepared = preparation((1, 1, 3), (1, 1, 3), spacing=(1, 1, 1), cropped_spacing=(1, 1, 1))
    logits = np.zeros((4, 1, 1, 3), np.float32)
    logits[1] = 5
    logits[3, 0, 0] = [0.1, 0.0, 9.0]
    found = decide_labels(logits, prepared, hybrid, mode="fast")
    assert found.ravel().tolist() == [14, 1, 14]


def test_without_a_background_channel_the_largest_must_exceed_zero(spec):
    three = replace(spec, net=tiny_net(out_channels=3), background="threshold")
    prepared = preparation((1, 1, 3), (1, 1, 3), spacing=(1, 1, 1), cropped_spacing=(1, 1, 1))
    logits = np.array([[-1, 0, 2], [-2, 0, 3], [-3, -1, 1]], np.float32).reshape(3, 1, 1, 3)
    found = decide_labels(logits, prepared, three, mode="fast")
    assert found.ravel().tolist() == [0, 0, 3]
