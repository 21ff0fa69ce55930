from dataclasses import replace

import pytest

from flare_infer.preparing_memory import preparing_memory
from flare_io.intensity import Intensity
from flare_io.preprocessing import Preprocessing

CT = Intensity(scheme="ct", mean=80.0, std=140.0, low=-960.0, high=300.0)
GRAY = Intensity(scheme="zscore")


def wanted(spacing_mm, *intensities, **options):
    return Preprocessing(spacing_mm=spacing_mm, intensities=intensities or (CT,), **options)


def test_planes_that_shrink_are_held_on_the_networks_grid():
    # No axis on its own: 64 + 60 planes make a block of 32, the last 64 of them were new.
    found = preparing_memory(wanted((4.0, 2.0, 2.0)), (400, 20, 20), (2.0, 1.0, 1.0), (200, 10, 10))
    assert found.held_bytes == 100 * (8 * (2 * 124 + 64) + 16 * 32)
    assert found.passing_bytes == 0


def test_an_axis_on_its_own_reads_the_nearest_plane():
    # Spacing 5 over 1: one plane for each, 64 + 1 for 32.
    found = preparing_memory(
        wanted((10.0, 2.0, 2.0)), (400, 20, 20), (5.0, 1.0, 1.0), (200, 10, 10)
    )
    assert found.held_bytes == 100 * (8 * (2 * 65 + 64) + 16 * 32)
    linear = wanted((10.0, 2.0, 2.0), image_order_z=1)
    more = preparing_memory(linear, (400, 20, 20), (5.0, 1.0, 1.0), (200, 10, 10))
    assert more.held_bytes - found.held_bytes == 100 * 8 * 2


def test_planes_that_grow_are_held_as_they_come():
    found = preparing_memory(wanted((4.0, 0.5, 0.5)), (400, 10, 10), (2.0, 1.0, 1.0), (200, 20, 20))
    # Anisotropic, and cubic in planes: each is clipped to itself, on the network's grid.
    assert found.held_bytes == 400 * (8 * (2 * 65 + 64) + 16 * 32)
    even = wanted((2.0, 0.9, 0.9))
    found = preparing_memory(even, (400, 18, 18), (2.0, 1.0, 1.0), (400, 20, 20))
    assert found.held_bytes == 8 * 324 * 32
    assert found.passing_bytes == 12 * 324 * (32 + 60)


def test_a_short_scan_holds_no_more_than_all():
    found = preparing_memory(wanted((4.0, 2.0, 2.0)), (20, 20, 20), (2.0, 1.0, 1.0), (10, 10, 10))
    assert found.held_bytes == 100 * (8 * (2 * 20 + 20) + 16 * 10)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_not_resampled_comes_in_a_few_planes(count):
    found = preparing_memory(
        wanted(None, *(CT,) * count), (400, 20, 20), (2.0, 1.0, 1.0), (400, 20, 20)
    )
    # Eight planes in float32, and again with all channels.
    assert found.held_bytes == count * 8 * 400 * 8
    assert found.passing_bytes == 0


def test_what_depends_on_all_voxels_is_prepared_whole():
    shape, grid = (40, 20, 20), (40, 10, 10)
    whole = preparing_memory(wanted((2.0, 2.0, 2.0), GRAY, GRAY), shape, (2.0, 1.0, 1.0), grid)
    assert (whole.held_bytes, whole.passing_bytes) == (4 * 2 * 4000, 4 * 16000)
    # The coarse axis is the last.
    across = replace(wanted((2.0, 2.0, 2.0)), anisotropy_threshold=1.5)
    found = preparing_memory(across, (20, 20, 40), (1.0, 1.0, 2.0), (10, 10, 40))
    assert (found.held_bytes, found.passing_bytes) == (4 * 4000, 4 * 16000)
