import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.config import LossConfig
from flare_train.decision import decide

CLASSES = (0, 2, 5, 14)


def voxel_by_voxel(logits, config):
    """Return the decision of every voxel by plain rules on Python numbers."""
    shape = logits.shape[1:]
    result = np.zeros(shape, np.uint8)
    for place in itertools.product(*map(range, shape)):
        scores = [float(value) for value in logits[(slice(None), *place)]]
        if config.head == "sigmoid" and not config.background_channel:
            scores = [0.0, *scores]
        if config.head != "hybrid":
            result[place] = scores.index(max(scores))
            continue
        organs = [i for i, label in enumerate(CLASSES) if label not in config.overlay]
        result[place] = max(organs, key=lambda i: scores[i])
        for i, label in enumerate(CLASSES):
            if label in config.overlay and scores[i] > 0:
                result[place] = i
    return result


HEADS = [
    LossConfig(),
    LossConfig(head="sigmoid", partial="naive"),
    LossConfig(head="sigmoid", partial="naive", background_channel=True),
    LossConfig(head="hybrid", partial="naive"),
    LossConfig(head="hybrid", partial="naive", overlay=(5, 14)),
    LossConfig(head="hybrid", partial="naive", overlay=(14, 2)),
]


@pytest.mark.parametrize("config", HEADS)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_equals_the_rules_voxel_by_voxel(config, seed):
    channels = config.out_channels(CLASSES)
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(channels, 2, 3, 4)))
    decided = decide(logits, config, classes=CLASSES)
    assert decided.dtype == torch.uint8
    np.testing.assert_array_equal(decided.numpy(), voxel_by_voxel(logits, config))


def test_a_logit_of_zero_is_background():
    config = LossConfig(head="sigmoid", partial="naive")
    assert decide(torch.zeros(3, 1, 1, 1), config, classes=CLASSES).item() == 0
    hybrid = LossConfig(head="hybrid", partial="naive")
    assert decide(torch.zeros(4, 1, 1, 1), hybrid, classes=CLASSES).item() == 0
