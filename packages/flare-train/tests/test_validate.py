import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from flare_train.validate import predict_classes, validate


class Threshold(nn.Module):
    """Channel 1 where the image is bright, channel 2 where it is dark, voxel by voxel."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.windows = []

    def forward(self, x):
        self.windows.append(tuple(x.shape[2:]))
        return torch.cat([torch.ones_like(x), x, -x], dim=1)


@pytest.mark.parametrize("shape", [(8, 12, 12), (3, 5, 30), (20, 13, 12)])
def test_pointwise_net_gives_the_pointwise_answer_on_any_size(config, shape):
    image = np.random.default_rng(0).normal(0, 2, (1, *shape)).astype(np.float32)
    net = Threshold()
    wanted = np.where(image[0] > 1, 1, np.where(image[0] < -1, 2, 0))
    np.testing.assert_array_equal(predict_classes(net, image, config), wanted)
    assert set(net.windows) == {config.patch}


def image_of(labels):
    return np.choose(labels // 7 + (labels == 1), [0.0, 2.0, -2.0])[None]


def with_image(case, labels):
    return dataclasses.replace(case, image=image_of(labels))


def test_perfect_net_scores_one(config, cases):
    perfect = [with_image(case, case.labels) for case in cases]
    assert validate(Threshold(), perfect, config) == {1: 1.0, 14: 1.0}


def test_dice_by_hand(config, make_case):
    case = make_case(0)
    half = case.labels.copy()
    voxels = case.locations(14)
    half[tuple(voxels[: len(voxels) // 2].T)] = 0  # 13 of 27 voxels are missed
    scores = validate(Threshold(), [with_image(case, half)], config)
    assert scores[14] == pytest.approx(2 * 14 / (14 + 27))


def test_what_a_case_does_not_annotate_is_not_scored(config, make_case):
    partial = make_case(0, annotated=(1,))
    scores = validate(Threshold(), [with_image(partial, partial.labels * 0)], config)
    assert scores == {1: 0.0, 14: None}


def test_absent_and_unpredicted_is_no_score(config, make_case):
    case = dataclasses.replace(make_case(0), labels=np.zeros((8, 12, 12), np.uint8))
    scores = validate(Threshold(), [with_image(case, case.labels)], config)
    assert scores == {1: None, 14: None}


def test_stops_between_cases(config, cases):
    answers = iter([False, True])
    assert validate(Threshold(), cases, config, should_stop=lambda: next(answers)) is None
