import dataclasses
import re
import subprocess
import sys

import pytest

from flare_train.loss_config import LossConfig
from flare_train.settings import from_plain, to_plain

CLASSES = (0, 1, 2, 14)


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({}, 4),
        ({"partial": "marginal"}, 4),
        ({"head": "sigmoid"}, 3),
        ({"head": "sigmoid", "background_channel": True}, 4),
        ({"head": "hybrid"}, 4),
        ({"head": "hybrid", "overlay": (2, 14)}, 4),
    ],
)
def test_channels(settings, channels):
    assert LossConfig(**settings).out_channels(CLASSES) == channels


@pytest.mark.parametrize(
    ("config", "classes", "message"),
    [
        (LossConfig(head="hybrid"), (0, 1), "loss.overlay must be among the trained labels [1]"),
        (LossConfig(head="hybrid"), (0, 14), "loss.overlay must leave some of the labels [14]"),
        (LossConfig(partial_labels=(5,)), CLASSES, "loss.partial_labels must be among"),
    ],
)
def test_classes_that_do_not_fit(config, classes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        config.out_channels(classes)


def test_the_overlay_matters_to_the_hybrid_head_alone():
    assert LossConfig().out_channels((0, 1)) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "tanh"}, "loss.head must be one of 'softmax', 'sigmoid', 'hybrid', got 'tanh'"),
        ({"partial": "guess"}, "loss.partial must be one of"),
        (
            {"partial": "masked"},
            "must be one of 'refuse', 'naive', 'marginal' with loss.head = 'softmax'",
        ),
        ({"head": "sigmoid", "partial": "marginal"}, "with loss.head = 'sigmoid'"),
        ({"head": "hybrid", "partial": "marginal"}, "with loss.head = 'hybrid'"),
        ({"presence": "voxel"}, "loss.presence"),
        ({"presence": "patch"}, "loss.presence must be 'case' unless loss.partial = 'masked'"),
        ({"dice_mean": "some"}, "loss.dice_mean"),
        ({"reduction": "max"}, "loss.reduction"),
        ({"background_channel": True}, "loss.background_channel must be false"),
        ({"dice_weight": 0, "cross_entropy_weight": 0}, "not both 0"),
        ({"dice_weight": -1}, "loss weights"),
        ({"smooth": 0}, "loss.smooth must be > 0"),
        ({"scale": 0}, "loss.scale must be > 0"),
        ({"overlay_weight": 0}, "loss.overlay_weight must be > 0"),
        ({"partial": "marginal", "exclusion_weight": -1}, "loss.exclusion_weight must be >= 0"),
        ({"partial": "naive", "exclusion_weight": 1}, "loss.exclusion_weight must be 0 unless"),
        ({"overlay": ()}, "loss.overlay must be one or more labels"),
        ({"partial_labels": (1, 1)}, "loss.partial_labels must be one or more labels, each once"),
        ({"origin_weights": {"guess": 1.0}}, "a name in loss.origin_weights must be one of"),
        ({"origin_weights": {"tie": -1.0}}, "loss.origin_weights.tie must be >= 0, got -1.0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LossConfig(**settings)


@pytest.mark.parametrize(
    ("partial", "labels", "lacking"),
    [
        ("refuse", None, []),
        ("naive", None, [1, 2, 14]),
        ("marginal", None, [1, 2, 14]),
        ("marginal", (14,), [14]),
    ],
)
def test_what_a_case_may_lack(partial, labels, lacking):
    config = LossConfig(partial=partial, partial_labels=labels)
    assert [label for label in CLASSES[1:] if config.may_lack(label)] == lacking


def test_round_trip_with_lists_and_tables():
    config = LossConfig(
        head="hybrid",
        partial="masked",
        partial_labels=(14,),
        origin_weights={"tie": 0.0, "vote": 0.5},
    )
    plain = to_plain(dataclasses.asdict(config))
    assert plain["partial_labels"] == [14]
    assert from_plain(LossConfig, plain, "loss.") == config
    assert from_plain(LossConfig, {"partial_labels": None}, "loss.") == LossConfig()
    assert hash(config) == hash(dataclasses.replace(config, origin_weights=None))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"partial_labels": 14}, "loss.partial_labels must be a list, got 14"),
        ({"partial_labels": ["a"]}, "loss.partial_labels[0] must be int, got 'a'"),
        ({"origin_weights": [1]}, "loss.origin_weights must be a table, got [1]"),
        ({"origin_weights": {"tie": "x"}}, "loss.origin_weights.tie must be float, got 'x'"),
    ],
)
def test_values_of_another_type(plain, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_plain(LossConfig, plain, "loss.")


def test_torch_is_not_loaded():
    code = "import sys, flare_train.loss_config; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
