import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.genesis.shuffling import shuffled_places

SHAPE = (20, 30, 40)


def coordinates(places, shape):
    return np.stack(np.unravel_index(places.numpy(), shape), axis=-1).reshape(*shape, 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 25)] * 3), st.integers(1, 12))
def test_one_cut_exchanges_voxels_within_reach(seed, shape, divisor):
    places = shuffled_places(shape, divisor=divisor, coverage=1.0, layers=1, seed=seed)
    # A permutation: every voxel is read once.
    assert sorted(places.tolist()) == list(range(int(np.prod(shape))))
    here = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    moved = np.abs(coordinates(places, shape) - here).reshape(-1, 3).max(axis=0)
    longest = np.maximum(np.array(shape) // divisor, 1)
    assert (moved <= longest - 1).all()


def test_nothing_moves_where_no_block_lies():
    places = shuffled_places(SHAPE, divisor=10, coverage=0.0, layers=2, seed=0)
    assert torch.equal(places, torch.arange(24000, dtype=torch.int32))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_coverage_is_what_was_asked(layers):
    # With edges of 1 a block holds one voxel and moves nothing: longer edges are needed. Blocks of
    # 2 * 2 * 2.5 voxels keep one of ten in place by chance.
    shares = [
        1
        - np.mean(
            shuffled_places(
                (20, 40, 60), divisor=5, coverage=0.85, layers=layers, seed=seed
            ).numpy()
            == np.arange(48000)
        )
        for seed in range(10)
    ]
    kept = [
        np.mean(
            shuffled_places((20, 40, 60), divisor=5, coverage=1.0, layers=1, seed=seed).numpy()
            == np.arange(48000)
        )
        for seed in range(10)
    ]
    assert np.mean(shares) == pytest.approx(0.85 * (1 - np.mean(kept)), abs=0.03)


def test_neighbors_part():
    places = shuffled_places((30, 60, 60), divisor=5, coverage=1.0, layers=1, seed=1)
    at = coordinates(places, (30, 60, 60))
    for axis in range(3):
        near = np.abs(np.diff(at, axis=axis)).sum(axis=-1) == 1
        # Blocks of 3 * 6 * 6 voxels on average: few pairs stay side by side by chance.
        assert near.mean() < 0.15


def test_within_a_block_every_voxel_may_go_everywhere():
    # One block of 3 voxels in each of many seeds: each place is read from each place as often.
    counts = np.zeros((3, 3))
    for seed in range(600):
        places = shuffled_places((1, 1, 3), divisor=1, coverage=1.0, layers=1, seed=seed).numpy()
        counts[np.arange(3), places] += 1
    moved = counts.sum() - np.trace(counts)
    assert moved > 0
    # Symmetric up to chance: 600 draws, cells of about 100, deviation 10.
    assert np.abs(counts - counts.T).max() < 60


def test_edges_are_even_up_to_the_longest():
    from flare_train.genesis.shuffling import _cut

    lengths = np.concatenate(
        [_cut(1000, 100, seed=seed, axis=0).length[1:-1] for seed in range(40)]
    )
    counts = np.bincount(lengths, minlength=11)[1:]
    assert counts.size == 10
    assert np.abs(counts / lengths.size - 0.1).max() < 0.02


def test_seeds_name_the_places():
    first, again, other = (
        shuffled_places(SHAPE, divisor=10, coverage=0.85, layers=2, seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
