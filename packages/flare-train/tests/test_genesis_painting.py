import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.genesis.painting import draw_boxes
from flare_train.genesis_config import GenesisConfig


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 80)] * 3))
def test_boxes_lie_inside_and_off_the_border(seed, shape):
    inner, boxes = draw_boxes(np.random.default_rng(seed), shape, GenesisConfig())
    assert 1 <= len(boxes) <= 5
    for box in boxes:
        for axis, size in zip(box, shape, strict=True):
            edge = axis.stop - axis.start
            assert 0 <= axis.start < axis.stop <= size
            if inner:
                assert max(size // 6, 1) <= edge <= max(size // 3, 1)
            else:
                assert size - 4 * size // 7 <= edge <= size - 3 * size // 7
            if size - edge >= 6:
                assert axis.start >= 3
                assert axis.stop <= size - 3


def test_shares_of_inner_boxes_and_their_number():
    rng = np.random.default_rng(0)
    drawn = [draw_boxes(rng, (64, 64, 32), GenesisConfig()) for _ in range(2000)]
    assert np.mean([inner for inner, _ in drawn]) == pytest.approx(0.2, abs=0.03)
    numbers = np.bincount([len(boxes) for _, boxes in drawn], minlength=6) / 2000
    # A miss, of probability 0.05, ends them: 1 box 0.05, 2 boxes 0.95 * 0.05, ..., 5 the rest.
    expected = [0, 0.05, 0.95 * 0.05, 0.95**2 * 0.05, 0.95**3 * 0.05, 0.95**4]
    np.testing.assert_allclose(numbers, expected, atol=0.03)
