import dataclasses

import numpy as np
import pytest
from scipy import stats

from flare_train.augment import draw_parameters
from flare_train.augment_config import AugmentConfig

FLAT, DEEP = (32, 128, 192), (64, 128, 128)
NNUNET = AugmentConfig.preset("nnunet")


def many(config=NNUNET, *, patch=DEEP, batches=300, batch=4, channels=2):
    """Return the parameters of 1200 samples, each field in one array."""
    drawn = [
        draw_parameters(config, seed=1, iteration=i, batch=batch, patch=patch, channels=channels)
        for i in range(batches)
    ]
    return {
        field.name: np.concatenate([getattr(each, field.name) for each in drawn])
        for field in dataclasses.fields(drawn[0])
        if isinstance(getattr(drawn[0], field.name), np.ndarray)
    }


@pytest.fixture(scope="module")
def nnunet():
    return many()


def even(values, low, high):
    """Return whether values look evenly drawn from a range (Kolmogorov and Smirnov)."""
    values = np.asarray(values)
    assert values.min() >= low
    assert values.max() <= high
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "probability"),
    [
        # As nnU-Net's trainer states them; blur and low resolution are per channel 0.5 of a sample.
        ("angles", 0.2),
        ("scale", 0.2),
        ("elastic_rms", 0.0),
        ("noise", 0.1),
        ("blur", 0.1),
        ("brightness", 0.15),
        ("shift", 0.0),
        ("contrast", 0.15),
        ("low_resolution", 0.125),
        ("gamma", 0.3),
        ("gamma_inverted", 0.1),
    ],
)
def test_probabilities_are_those_of_nnunet(nnunet, name, probability):
    drawn = ~np.isnan(nnunet[name].reshape(1200, -1))
    # Four standard deviations of the mean of 1200 samples, whatever their channels share.
    assert abs(drawn.mean() - probability) <= 4 * np.sqrt(probability * (1 - probability) / 1200)


def test_ranges_are_those_of_nnunet(nnunet):
    def drawn(name):
        values = nnunet[name]
        return values[~np.isnan(values)]

    assert even(np.rad2deg(drawn("angles")), -30, 30)
    assert even(drawn("scale"), 0.7, 1.4)
    assert even(drawn("noise"), 0, 0.1)
    assert even(drawn("blur"), 0.5, 1)
    assert even(drawn("low_resolution"), 0.5, 1)
    # A coin chooses the side of 1: nnU-Net's BGContrast.
    for name, low, high in (
        ("brightness", 0.75, 1.25),
        ("contrast", 0.75, 1.25),
        ("gamma", 0.7, 1.5),
        ("gamma_inverted", 0.7, 1.5),
    ):
        values = drawn(name)
        assert even(values[values < 1], low, 1)
        assert even(values[values > 1], 1, high)
        assert abs(np.mean(values < 1) - 0.5) < 2 / np.sqrt(len(values))


def test_mirroring_is_a_coin_for_each_axis(nnunet):
    counts = np.array(
        [np.sum((nnunet["mirror"] == pattern).all(axis=1)) for pattern in np.ndindex(2, 2, 2)]
    )
    assert stats.chisquare(counts).pvalue > 1e-3
    one = many(dataclasses.replace(NNUNET, mirror_axes=(1,)), batches=20)["mirror"]
    assert one[:, 1].any()
    assert not one[:, [0, 2]].any()


def test_channels_share_what_nnunet_synchronizes(nnunet):
    # Brightness, contrast and gamma come to all channels of a sample, each with its own factor.
    for name in ("brightness", "contrast", "gamma"):
        missing = np.isnan(nnunet[name])
        assert (missing[:, 0] == missing[:, 1]).all()
        first, second = nnunet[name][~missing[:, 0]].T
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.3
    # Blur and low resolution choose channels one by one.
    for name in ("blur", "low_resolution"):
        missing = np.isnan(nnunet[name].reshape(1200, 2, -1)[..., 0])
        assert (missing[:, 0] != missing[:, 1]).any()


def test_flat_patches_turn_about_z_only():
    angles = many(patch=FLAT, batches=100)["angles"]
    angles = np.rad2deg(angles[~np.isnan(angles[:, 0])])
    assert even(angles[:, 0], -180, 180)
    assert (angles[:, 1:] == 0).all()
    assert draw_parameters(NNUNET, seed=0, iteration=0, batch=1, patch=FLAT).in_plane


def test_elastic_ranges():
    drawn = many(dataclasses.replace(AugmentConfig.preset("swift"), elastic_p=1.0), batches=100)
    assert even(drawn["elastic_sigma"], 9, 13)
    assert even(drawn["elastic_rms"], 0, 3)


def test_only_turned_scaled_or_deformed_samples_are_spatial():
    for name, value in (("rotation_p", 1), ("scale_p", 1), ("elastic_p", 1)):
        config = AugmentConfig(**{name: value})
        assert draw_parameters(config, seed=0, iteration=0, batch=2, patch=DEEP).spatial.all()
    config = dataclasses.replace(NNUNET, rotation_p=0, scale_p=0, gamma_p=1)
    drawn = draw_parameters(config, seed=0, iteration=0, batch=50, patch=DEEP)
    assert drawn.mirror.any()
    assert not drawn.spatial.any()
    assert drawn.changes_intensity.all()
    assert len(drawn) == 50


def test_transforms_have_streams_of_their_own():
    key = {"seed": 0, "iteration": 3, "batch": 8, "patch": DEEP}
    full = draw_parameters(NNUNET, **key)
    less = draw_parameters(dataclasses.replace(NNUNET, scale_p=0, noise_p=0, blur_p=0), **key)
    assert np.isnan(less.scale).all()
    for name in ("angles", "gamma", "mirror", "brightness"):
        np.testing.assert_array_equal(getattr(less, name), getattr(full, name))


def test_processes_draw_their_share_of_the_global_batch():
    key = {"seed": 5, "iteration": 2, "patch": DEEP, "channels": 2}
    whole = draw_parameters(NNUNET, batch=6, **key)
    share = draw_parameters(NNUNET, batch=2, first=4, **key)
    for field in dataclasses.fields(whole):
        if isinstance(getattr(whole, field.name), np.ndarray):
            np.testing.assert_array_equal(
                getattr(share, field.name), getattr(whole, field.name)[4:]
            )
    assert share.field_seeds == whole.field_seeds[4:]
    assert len(set(whole.field_seeds)) == 6


def test_seed_and_iteration_name_the_numbers():
    config = AugmentConfig(scale_p=1, scale=(0.5, 2))
    first, again, later, other = (
        draw_parameters(config, seed=seed, iteration=iteration, batch=1, patch=DEEP).scale[0]
        for seed, iteration in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert first == again
    assert len({first, later, other}) == 3
