import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.heads import Head, exceeds_half


def one_voxel(head, logits):
    """The rule written out for a list of Python floats."""
    label, best = 0, 0.0 if head.zero else -np.inf
    for channel in head.rivals:
        if logits[channel] > best:
            label, best = head.labels[channel], logits[channel]
    for channel in head.painters:
        if logits[channel] > 0:
            label = head.labels[channel]
    return label


HEADS = [
    Head(labels=(0, 1, 3, 14), rivals=(0, 1, 2, 3)),
    Head(labels=(1, 3, 14), rivals=(0, 1, 2), zero=True),
    Head(labels=(0, 1, 3, 14), rivals=(0, 1, 2), painters=(3,)),
    Head(labels=(1, 3, 300), rivals=(0,), painters=(2, 1), zero=True),
    Head(labels=(1, 3), rivals=(), painters=(1, 0)),
]


@pytest.mark.parametrize("head", HEADS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_equals_the_rule_written_out(head, seed):
    # Small integers: ties and zeros are common.
    logits = np.random.default_rng(seed).integers(-2, 3, (len(head.labels), 5, 6))
    values = logits.astype(np.float16)
    before = values.copy()
    found = head.decide(values)
    flat = logits.reshape(len(head.labels), -1).T
    assert found.ravel().tolist() == [one_voxel(head, row.tolist()) for row in flat]
    assert found.dtype == (np.uint16 if 300 in head.labels else np.uint8)
    assert np.array_equal(values, before)


def test_painting_follows_its_own_order_not_that_of_the_channels():
    both = np.full((3, 1), 1.0, np.float32)
    first = Head(labels=(0, 3, 14), rivals=(0,), painters=(1, 2))
    second = Head(labels=(0, 3, 14), rivals=(0,), painters=(2, 1))
    assert first.decide(both).tolist() == [14]
    assert second.decide(both).tolist() == [3]


def test_half_is_not_exceeded_by_a_sigmoid_that_rounds_to_it():
    head = Head(labels=(5,), rivals=(), painters=(0,), by_sigmoid=True)
    smallest = np.nextafter(np.float16(0), np.float16(1))
    values = np.array([[0.0, smallest, 1e-3, -1e-3]], np.float16)
    assert head.decide(values).tolist() == [0, 0, 5, 0]
    plain = Head(labels=(5,), rivals=(), painters=(0,))
    assert plain.decide(values).tolist() == [0, 5, 5, 0]


def test_the_sigmoid_rule_is_one_threshold_on_all_of_float16():
    bits = np.arange(2**16, dtype=np.uint16)
    values = bits.view(np.float16)
    values = np.sort(values[np.isfinite(values)])
    found = exceeds_half(values)
    assert np.array_equal(found, np.sort(found)), "true from some value on"
    assert torch.sigmoid(torch.tensor(float(values[found][0]))) > 0.5
    assert not found[values <= 0].any()


def test_the_sigmoid_rule_is_that_of_torch_for_every_number_around_the_threshold():
    # From 2^-24 to 2^-23, with what is below zero and far above.
    around = np.arange(0x33800000, 0x34000001, dtype=np.uint32).view(np.float32)
    values = np.concatenate([around, -around[::4096], np.float32([0, 1e-38, 1e-20, 1e-3, 90])])
    expected = (torch.sigmoid(torch.from_numpy(values)) > 0.5).numpy()
    assert np.array_equal(exceeds_half(values), expected)
    assert expected[: len(around)].any()
    assert not expected[: len(around)].all()
