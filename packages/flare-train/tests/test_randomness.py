import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.randomness import stream, stream_seed

keys = st.lists(st.one_of(st.integers(0, 2000), st.text(max_size=5)), max_size=4).map(tuple)


@settings(max_examples=50)
@given(keys, keys)
def test_equal_keys_and_only_those_give_equal_numbers(first, second):
    same = stream(1, *first).random() == stream(1, *second).random()
    assert same == (first == second)
    assert (stream_seed(1, *first) == stream_seed(1, *second)) == (first == second)


def test_neighbors_are_independent():
    draws = np.array([stream(0, iteration, "x").random(50) for iteration in range(200)])
    # 200 x 50 even numbers: mean 1/2 with deviation 0.289 / 100
    assert abs(draws.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.05


def test_seed_is_the_digest_of_its_key():
    digest = hashlib.sha256(b"(0, 5)").digest()
    assert stream_seed(0, 5) == int.from_bytes(digest[16:24], "little") >> 1
