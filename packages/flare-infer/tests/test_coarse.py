from dataclasses import replace

import numpy as np
import pytest

from flare_infer.coarse import coarse_mask
from flare_io.volume import Volume

from .fast_scans import LIVER_HU, SPACING_MM, TUMOR_HU, VoxelNet, block, scan


@pytest.fixture
def ct():
    return scan(
        (32, 64, 64),
        body=block((0, 32), (0, 64), (0, 64)),
        organs=[
            (block((4, 12), (8, 24), (40, 56)), LIVER_HU),
            (block((24, 28), (44, 52), (4, 12)), TUMOR_HU),
        ],
    )


def mask_of(spec, ct, net=None, **settings):
    wanted = {"factor": 2.0, "margin_mm": 0.0, **settings}
    return coarse_mask(net or VoxelNet(), [ct], spec, spacing_mm=SPACING_MM, **wanted)


def test_organs_and_tumors_are_found_where_they_are(spec, ct):
    expected = np.zeros((16, 32, 32), bool)
    expected[2:6, 4:12, 20:28] = True
    expected[12:14, 22:26, 2:6] = True
    assert np.array_equal(mask_of(spec, ct), expected)


def test_a_margin_is_in_millimeters_and_ends_at_the_rim(spec, ct):
    narrow, wide = mask_of(spec, ct), mask_of(spec, ct, margin_mm=17.0)
    # Cells of 8, 4 and 4 mm: 3, 5 and 5 of them. The tumor's block is two planes from the rim.
    assert (np.flatnonzero(narrow[:, 24, 4])[[0, -1]] == [12, 13]).all()
    assert (np.flatnonzero(wide[:, 24, 4])[[0, -1]] == [9, 15]).all()
    assert (np.flatnonzero(wide[12, 24])[[0, -1]] == [0, 10]).all()


def test_windows_do_not_overlap_and_are_told(spec, ct):
    net, told = VoxelNet(), []
    mask_of(spec, ct, net, on_window=lambda: told.append(1))
    # 16 x 32 x 32 voxels in windows of 8 x 16 x 16.
    assert len(net.windows) == len(told) == 2 * 2 * 2


def test_of_a_case_without_foreground_there_is_no_mask(spec, ct):
    plain = Volume(np.where(ct.array > 100, 0, ct.array), ct.geometry)
    assert mask_of(spec, plain) is None


def test_it_looks_only_within_other_masks(spec, ct):
    upper = np.zeros((2, 1, 1), bool)
    upper[0] = True
    net = VoxelNet()
    mask = mask_of(spec, ct, net, within=(upper,))
    assert len(net.windows) == 1 * 2 * 2
    assert mask[2:6, 4:12, 20:28].all()
    assert not mask[8:].any()


def test_cells_divide_the_crop_of_a_model_that_crops(spec, ct):
    cropped = replace(spec, preprocessing=replace(spec.preprocessing, crop="nonzero"))
    array = np.where(ct.array == 0, 1, ct.array)
    padded = np.zeros((40, 80, 64), np.int16)
    padded[4:36, 16:] = array
    assert np.array_equal(mask_of(cropped, Volume(padded, ct.geometry)), mask_of(spec, ct))
