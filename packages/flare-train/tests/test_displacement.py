import numpy as np
import pytest
import torch

from flare_train.augment.displacement import displacement_field


@pytest.mark.parametrize("shape", [(40, 60), (12, 20, 30)])
def test_root_mean_square_and_correlation(shape):
    fields = torch.stack(
        [displacement_field(shape, sigma=4.0, rms=2.5, seed=seed) for seed in range(300)]
    ).numpy()
    assert fields.shape == (300, len(shape), *shape)
    # 300 independent draws of each voxel: the spread of a root mean square is 4 percent.
    rms = np.sqrt((fields**2).mean(axis=0))
    assert rms.mean() == pytest.approx(2.5, rel=0.03)
    assert np.abs(rms / 2.5 - 1).max() < 0.2
    for step in (2, 4, 8):
        near, far = fields[..., :-step], fields[..., step:]
        measured = (near * far).mean() / 2.5**2
        # exp(-r^2 / (4 sigma^2)): white noise under a Gaussian of sigma 4
        assert measured == pytest.approx(np.exp(-(step**2) / 64), abs=0.05)


def test_field_is_the_sum_of_gaussians_on_its_knots():
    # In one dimension, in float64, from the definition.
    from flare_train.randomness import stream

    sigma, size = 3.0, 10
    field = displacement_field((size,), sigma=sigma, rms=1.0, seed=8)
    knots = 13  # ceil(10 / 3) + 9
    noise = stream(8, "displacement").standard_normal((1, knots), np.float32)[0]
    expected = [
        sum(
            noise[k] * np.exp(-0.5 * ((voxel - (k - 4) * sigma) / sigma) ** 2) for k in range(knots)
        )
        / np.pi**0.25
        for voxel in range(size)
    ]
    np.testing.assert_allclose(field[0].numpy(), expected, atol=1e-5)


def test_axes_are_independent_and_seeds_name_the_field():
    field = displacement_field((64, 64), sigma=2.0, rms=1.0, seed=0).numpy()
    assert abs(np.corrcoef(field[0].ravel(), field[1].ravel())[0, 1]) < 0.2
    again = displacement_field((64, 64), sigma=2.0, rms=1.0, seed=0).numpy()
    other = displacement_field((64, 64), sigma=2.0, rms=1.0, seed=1).numpy()
    np.testing.assert_array_equal(field, again)
    assert not np.array_equal(field, other)
