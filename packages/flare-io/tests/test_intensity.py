import numpy as np
import pytest

from flare_io.intensity import WINDOWS_HU, Intensity, apply_window

CT = {"scheme": "ct", "mean": 80.0, "std": 140.0, "low": -960.0, "high": 300.0}


def volume(seed=0):
    return np.random.default_rng(seed).normal(50, 200, (4, 5, 6)).astype(np.float32)


def test_ct_clips_then_scales():
    values = Intensity(**CT).apply(np.array([[[-2000, -60, 80, 220, 3000]]], np.int16))
    # (-960 - 80) / 140, (-60 - 80) / 140, 0, (220 - 80) / 140, (300 - 80) / 140
    np.testing.assert_allclose(values.ravel(), [-7.4285714, -1, 0, 1, 1.5714286], rtol=1e-6)
    assert values.dtype == np.float32


def test_zscore_has_mean_zero_and_deviation_one():
    values = Intensity(scheme="zscore").apply(volume())
    assert values.mean() == pytest.approx(0, abs=1e-6)
    assert values.std() == pytest.approx(1, abs=1e-6)


def test_zscore_within_a_mask_leaves_the_outside():
    array = volume()
    mask = np.zeros(array.shape, bool)
    mask[1:3] = True
    values = Intensity(scheme="zscore", within_mask=True).apply(array, mask)
    np.testing.assert_array_equal(values[~mask], array[~mask])
    assert values[mask].mean() == pytest.approx(0, abs=1e-6)
    assert values[mask].std() == pytest.approx(1, abs=1e-6)


def test_zscore_of_an_empty_mask_changes_nothing():
    array = volume()
    empty = np.zeros(array.shape, bool)
    values = Intensity(scheme="zscore", within_mask=True).apply(array, empty)
    np.testing.assert_array_equal(values, array)


def test_constant_images_stay_finite():
    constant = np.full((2, 2, 2), 7.0)
    assert (Intensity(scheme="zscore").apply(constant) == 0).all()
    assert (Intensity(scheme="rescale").apply(constant) == 0).all()


def test_rescale_spans_zero_to_one():
    values = Intensity(scheme="rescale").apply(volume())
    assert values.min() == 0
    assert values.max() == 1


def test_rgb_and_none():
    array = np.array([[[0, 51, 255]]], np.uint8)
    np.testing.assert_allclose(Intensity(scheme="rgb").apply(array).ravel(), [0, 0.2, 1])
    assert Intensity(scheme="none").apply(array).ravel().tolist() == [0, 51, 255]


def test_the_input_is_untouched_and_memory_order_is_kept():
    array = volume().transpose(2, 0, 1)
    before = array.copy()
    values = Intensity(**CT).apply(array)
    np.testing.assert_array_equal(array, before)
    assert values.strides == array.strides


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scheme": "mri"}, "scheme must be one of"),
        ({"scheme": "ct", "mean": 1.0}, "scheme 'ct' needs a finite std, got None"),
        ({**CT, "low": 300.0}, "needs low < high and std >= 0"),
        ({**CT, "mean": np.nan}, "needs a finite mean, got nan"),
        ({"scheme": "none", "mean": 1.0}, "scheme 'none' takes no mean"),
        ({**CT, "within_mask": True}, "within_mask belongs to the scheme zscore"),
    ],
)
def test_contradictions_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Intensity(**fields)


def test_wrong_arrays_are_named():
    with pytest.raises(ValueError, match=r"rgb values must lie in 0..255, got -1 to 3"):
        Intensity(scheme="rgb").apply(np.array([-1, 3]))
    with pytest.raises(ValueError, match=r"within_mask needs a mask of shape \(2,\), got None"):
        Intensity(scheme="zscore", within_mask=True).apply(np.zeros(2))
    with pytest.raises(ValueError, match="values must be float32, got float64"):
        Intensity(scheme="none").apply_in_place(np.zeros(2))


@pytest.mark.parametrize(
    "intensity",
    [
        Intensity(**CT),
        Intensity(scheme="ct", mean=0.0, std=1.0, low=0.0, high=1.0),
        Intensity(scheme="zscore", within_mask=True),
        Intensity(scheme="none"),
    ],
    ids=["ct", "ct with zeros", "masked", "none"],
)
def test_dict_is_the_way_back(intensity):
    assert Intensity(**intensity.to_dict()) == intensity


def test_window_ends_are_black_and_white():
    # Halfway between -160 and 240 is 40: 127.5 rounds to the even 128.
    assert apply_window(np.array([-3024, -160, 40, 240, 2000])).tolist() == [0, 0, 128, 255, 255]
    assert apply_window(np.array([np.nan])).tolist() == [0]
    assert all(low < high for low, high in WINDOWS_HU.values())
    with pytest.raises(ValueError, match="low < high"):
        apply_window(np.zeros(1), window_hu=(5, 5))
