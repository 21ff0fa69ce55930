import numpy as np
import pytest
import torch
from scipy import stats

from flare_train.augment.random_fields import normal_field, uniform_field
from flare_train.randomness import stream_seed

MASK = 0xFFFFFFFF


def mixed(bits):
    """Return the hash of one 32-bit number in Python's own integers."""
    bits ^= bits >> 16
    bits = bits * 0x7FEB352D & MASK
    bits ^= bits >> 15
    bits = bits * 0x846CA68B & MASK
    return bits ^ bits >> 16


def test_hash_equals_whole_number_arithmetic():
    word = stream_seed(7, "field")
    step, begin = word >> 31 | 1, word
    expected = [(mixed(index * step + begin & MASK) & 0xFFFFFF) / 2**24 for index in range(1000)]
    assert uniform_field((10, 100), seed=7).ravel().tolist() == expected


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, 12345, 99])
def test_uniform_field_is_even_and_uncorrelated(seed):
    field = uniform_field((64, 64, 64), seed=seed).numpy()
    assert field.min() >= 0
    assert field.max() < 1
    assert stats.kstest(field.ravel(), "uniform").pvalue > 1e-4
    centered = field - field.mean()
    for axis in range(3):
        for step in (1, 2, 32):
            shifted = np.roll(centered, step, axis)
            # 262144 products: the standard error of a correlation is 0.002.
            assert abs((centered * shifted).mean() / centered.var()) < 0.01


def test_neighboring_seeds_give_unrelated_fields():
    fields = np.stack([uniform_field((20000,), seed=seed).numpy() for seed in range(20)])
    correlation = np.corrcoef(fields) - np.eye(20)
    assert np.abs(correlation).max() < 0.04


def test_normal_field_is_normal():
    field = normal_field((33, 33, 33), seed=3).numpy().ravel()
    assert field.shape == (35937,)  # odd: the last pair gives one number only
    assert stats.kstest(field, "norm").pvalue > 1e-3
    half = field.size // 2
    assert abs(np.corrcoef(field[:half], field[-half:])[0, 1]) < 0.03


def test_fields_have_the_asked_shape_and_may_be_empty():
    assert uniform_field((2, 0, 3), seed=0).shape == (2, 0, 3)
    assert normal_field((0,), seed=0).shape == (0,)
    assert normal_field((1,), seed=0).dtype == torch.float32
    assert torch.equal(normal_field((7,), seed=9), normal_field((7,), seed=9))
