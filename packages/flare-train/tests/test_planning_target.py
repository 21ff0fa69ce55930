import numpy as np
import pytest

from flare_train.fingerprint import Fingerprint, ForegroundIntensities
from flare_train.planning.target import coarsest_first, median_target_shape, target_spacing_mm

CT = ForegroundIntensities(
    mean=80, median=90, std=140, low=-960, high=300, minimum=-1024, maximum=1500
)


def fingerprint(spacings, shapes):
    return Fingerprint(spacings_mm=tuple(spacings), shapes=tuple(shapes), intensities=(CT,))


def test_the_median_of_every_axis():
    found = fingerprint(
        [(5, 0.7, 0.9), (2.5, 0.8, 0.8), (1, 0.9, 0.7), (3, 0.8, 0.8)], [(200, 512, 512)] * 4
    )
    assert target_spacing_mm(found) == pytest.approx((2.75, 0.8, 0.8))


def test_thick_and_few_slices_take_the_tenth_percentile():
    spacings = [(z, 1.5, 1.5) for z in (10, 10, 10, 10, 8, 5, 10, 10, 10, 10, 10)]
    found = fingerprint(spacings, [(9, 256, 216)] * 11)
    # Of eleven sorted values the tenth percentile is the second.
    assert target_spacing_mm(found) == (8.0, 1.5, 1.5)


def test_thick_slices_that_are_many_keep_the_median():
    spacings = [(10.0, 1.5, 1.5)] * 9 + [(5.0, 1.5, 1.5)] * 2
    # 72 is a third of 216: not less.
    assert target_spacing_mm(fingerprint(spacings, [(72, 256, 216)] * 11))[0] == 10
    assert target_spacing_mm(fingerprint(spacings, [(71, 256, 216)] * 11))[0] == 5


def test_the_coarse_axis_never_becomes_finer_than_the_others():
    spacings = [(10.0, 2.0, 2.0)] * 4 + [(1.0, 2.0, 2.0)] * 3
    found = target_spacing_mm(fingerprint(spacings, [(9, 256, 256)] * 7))
    assert found == pytest.approx((2.00001, 2.0, 2.0), abs=1e-9)


def test_any_axis_can_be_the_coarse_one():
    found = fingerprint([(0.8, 0.8, 6.0)] * 3, [(512, 512, 20)] * 3)
    assert target_spacing_mm(found) == (0.8, 0.8, 6.0)
    assert coarsest_first((0.8, 0.8, 6.0)) == (2, 0, 1)
    assert coarsest_first((5, 1, 1)) == (0, 1, 2)
    # Of equal ones the first.
    assert coarsest_first((1, 1, 1)) == (0, 1, 2)


def test_the_median_shape_is_taken_after_resampling():
    found = fingerprint(
        [(1, 1, 1), (2, 1, 1), (4, 2, 2)], [(100, 50, 50), (100, 51, 50), (10, 7, 9)]
    )
    # Case by case at (2, 1, 1): (50, 50, 50), (100, 51, 50), (20, 14, 18).
    assert median_target_shape(found, (2, 1, 1)) == (50.0, 50.0, 50.0)
    two = fingerprint([(1, 1, 1)] * 2, [(10, 10, 10), (11, 10, 10)])
    assert median_target_shape(two, (1, 1, 1)) == (10.5, 10.0, 10.0)


def test_against_numpy_on_drawn_cases():
    rng = np.random.default_rng(1)
    spacings = rng.uniform(0.5, 2, (25, 3)).round(3)
    shapes = rng.integers(40, 300, (25, 3))
    found = fingerprint(map(tuple, spacings.tolist()), map(tuple, shapes.tolist()))
    assert found.median_spacing_mm == tuple(np.median(spacings, 0))
    assert target_spacing_mm(found) == tuple(np.percentile(spacings, 50, 0))
    resized = np.rint(spacings / np.array(target_spacing_mm(found)) * shapes)
    assert median_target_shape(found, target_spacing_mm(found)) == tuple(np.median(resized, 0))
