"""Noise of the stated strength, slices as thick as stated, contrast that fits its phase."""

import numpy as np
import pytest

from flare_io._phantom_intensity import Scanner, blur_points, draw_materials, finish_image


def finished(array, **changes):
    settings = {"noise_hu": 20.0, "grain_voxels": 0.7, "slice_thickness_mm": 1.0, "streaks": 0.0}
    return finish_image(
        array.astype(np.float32),
        scanner=Scanner(**{**settings, **changes}),
        spacing_mm=(2.0, 1.0, 1.0),
        rng=np.random.default_rng(0),
    )


@pytest.mark.parametrize("noise_hu", [12.0, 30.0])
def test_noise_has_the_stated_spread(noise_hu):
    image = finished(np.full((20, 40, 40), 50.0), noise_hu=noise_hu)
    # Rounding to whole HU adds 1/12 to the variance.
    assert image.std() == pytest.approx(np.sqrt(noise_hu**2 + 1 / 12), rel=0.01)
    # Some 5000 independent grains: the mean's own spread is up to 0.4.
    assert image.mean() == pytest.approx(50.0, abs=1.5)


def test_coarser_grain_correlates_neighbors():
    def neighbors(grain):
        noise = finished(np.zeros((10, 64, 64)), grain_voxels=grain).astype(float)
        return np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]

    # Neighbors of white noise under a Gaussian of width s correlate by exp(-1 / (4 s^2)).
    assert neighbors(1.0) == pytest.approx(np.exp(-0.25), abs=0.03)
    assert neighbors(1.0) > neighbors(0.6) + 0.1


def test_thick_slices_mix_neighbors_and_keep_the_mean():
    step = np.zeros((21, 9, 9), np.float32)
    step[10:] = 100.0
    thick = blur_points(step, thickness_voxels=5.0)[:, 4, 4]
    # A box of five slices: a ramp by fifths.
    np.testing.assert_allclose(thick[7:14], [0, 20, 40, 60, 80, 100, 100], atol=1e-3)
    thin = blur_points(step, thickness_voxels=0.5)[:, 4, 4]
    np.testing.assert_allclose(thin, step[:, 4, 4], atol=1e-3)


def test_streaks_lie_in_rows_with_dense_bone():
    body = np.full((6, 30, 30), 50.0)
    body[:, 15, 5:25] = 1200.0
    calm = {"noise_hu": 1.0}
    difference = finished(body, streaks=0.05, **calm).astype(float) - finished(body, **calm)
    # A streak shifts a whole row.
    rows = np.abs(difference.mean(axis=2))
    assert rows[:, 15].mean() > 3 * rows[:, :8].mean()


def test_values_stay_within_ct():
    image = finished(np.full((4, 8, 8), -1010.0), noise_hu=30.0)
    assert image.dtype == np.int16
    assert image.min() == -1024


def test_native_scans_show_no_vessels():
    for seed in range(10):
        phase, values = draw_materials(np.random.default_rng(seed), native_share=1.0)
        assert phase.name == "native"
        assert phase.latent == 0.0
        for name in ("aorta", "inferior vena cava"):
            assert values[name] == pytest.approx(44, abs=8)


def test_contrast_orders_the_organs():
    for seed in range(20):
        phase, values = draw_materials(np.random.default_rng(seed), native_share=0.0)
        assert phase.name in ("portal", "arterial")
        assert values["right kidney"] == values["left kidney"] > values["muscle"]
        assert values["gallbladder"] < 30 < values["liver"]
