import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_io.errors import GeometryError
from flare_io.geometry import AxisOrder, Geometry
from flare_io.intensity import Intensity
from flare_io.preparation import prepare
from flare_io.prepared_planes import can_stream, prepare_planes
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume

CT = Intensity(scheme="ct", mean=80, std=140, low=-960, high=300)


def scan(shape, spacing_mm, seed=0):
    hu = np.random.default_rng(seed).integers(-1100, 600, shape).astype(np.int16)
    hu[:, :1] = 0
    return Volume(hu, Geometry(spacing_mm, (-40.0, 12.5, 7.0)))


def assert_equal(volumes, preprocessing, *, streamed=True):
    expected = prepare(volumes, preprocessing)
    found = prepare_planes(volumes, preprocessing)
    assert found.preparation == expected.preparation
    assert can_stream(found.preparation, preprocessing) == streamed
    blocks = list(found.blocks)
    assert all(block.dtype == np.float32 for block in blocks)
    assert np.array_equal(np.concatenate(blocks, axis=1), expected.array)
    return blocks


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 45)] * 3),
    spacing=st.tuples(*[st.sampled_from((1.0, 1.5, 2.2))] * 3),
    order=st.sampled_from((0, 1, 3)),
    normalize_first=st.booleans(),
    crop=st.sampled_from(("none", "nonzero")),
    seed=st.integers(0, 99),
)
def test_blocks_are_the_prepared_case(shape, spacing, order, normalize_first, crop, seed):
    preprocessing = Preprocessing(
        spacing_mm=(1.6, 1.4, 1.4),
        intensities=(CT,),
        image_order=order,
        normalize_first=normalize_first,
        crop=crop,
    )
    assert_equal(scan(shape, spacing, seed), preprocessing)


@pytest.mark.parametrize("order_z", [0, 1, 3])
def test_thick_slices_stream_along_their_own_axis(order_z):
    preprocessing = Preprocessing(
        spacing_mm=(2.5, 0.9, 0.9), intensities=(CT,), image_order_z=order_z
    )
    assert_equal(scan((20, 30, 26), (6.0, 0.7, 0.7)), preprocessing)


def test_an_equal_grid_comes_in_a_few_planes_at_a_time():
    preprocessing = Preprocessing(spacing_mm=None, intensities=(CT,))
    blocks = assert_equal(scan((20, 5, 6), (2.0, 1.0, 1.0)), preprocessing)
    assert max(block.shape[1] for block in blocks) == 8


def test_any_axis_order_and_several_channels():
    stored = scan((12, 14, 10), (2.0, 1.0, 1.5)).reordered(
        AxisOrder((2, 0, 1), (True, False, True))
    )
    other = stored.with_array(stored.array[::-1].astype(np.float64) / 7)
    rgb = Intensity(scheme="none")
    preprocessing = Preprocessing(
        spacing_mm=(1.6, 1.4, 1.4), intensities=(CT, rgb), transpose=(1, 0, 2)
    )
    assert_equal([stored, other], preprocessing)


def test_what_needs_the_whole_case_comes_in_one_block():
    volume = scan((12, 14, 10), (2.0, 1.0, 1.0))
    zscore = Preprocessing(spacing_mm=(3.0, 1.4, 1.4), intensities=(Intensity(scheme="zscore"),))
    assert len(assert_equal(volume, zscore, streamed=False)) == 1
    across = Preprocessing(spacing_mm=(1.5, 1.5, 1.5), intensities=(CT,))
    thick_rows = scan((12, 10, 14), (1.0, 7.0, 1.0))
    assert len(assert_equal(thick_rows, across, streamed=False)) == 1


def test_planes_are_made_when_they_are_asked_for(monkeypatch):
    read = []
    apply = Intensity.apply

    def spy(self, array, mask=None):
        read.append(len(array))
        return apply(self, array, mask)

    monkeypatch.setattr(Intensity, "apply", spy)
    preprocessing = Preprocessing(
        spacing_mm=(2.0, 1.2, 1.2), intensities=(CT,), image_order=1, crop="none"
    )
    blocks = prepare_planes(scan((400, 4, 4), (1.0, 1.0, 1.0)), preprocessing).blocks
    assert sum(read) == 0
    assert next(blocks).shape[1] == 32
    # 32 planes of 2 mm lie in the first 64 of 1 mm.
    assert 64 <= sum(read) <= 70


def test_wrong_channels_are_refused_at_once():
    volume = scan((6, 5, 4), (1.0, 1.0, 1.0))
    one = Preprocessing(spacing_mm=None, intensities=(CT,))
    with pytest.raises(ValueError, match="volumes must be 1"):
        prepare_planes([volume, volume], one)
    two = Preprocessing(spacing_mm=None, intensities=(CT, CT))
    with pytest.raises(GeometryError, match="channel 1"):
        prepare_planes([volume, scan((6, 5, 5), (1.0, 1.0, 1.0))], two)
