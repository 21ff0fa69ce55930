import json

import numpy as np
import pytest

from flare_io.intensity import Intensity
from flare_io.preprocessing import Preprocessing

NONE = Intensity(scheme="none")
CT = Intensity(scheme="ct", mean=80, std=140, low=-960, high=300)


@pytest.mark.parametrize(
    "fields",
    [
        {"spacing_mm": None, "intensities": (NONE,)},
        {"spacing_mm": (4, 1.2, 1.2), "intensities": (CT,), "anisotropy_threshold": np.inf},
        {
            "spacing_mm": (4, 1.2, 1.2),
            "intensities": (CT, NONE),
            "crop": "none",
            "image_order": 1,
            "image_order_z": 1,
            "logits_order": 0,
            "logits_order_z": 1,
            "transpose": (2, 0, 1),
            "axes": "as_stored",
            "normalize_first": False,
        },
    ],
    ids=["least", "infinite threshold", "everything"],
)
def test_json_is_the_way_back(fields):
    wanted = Preprocessing(**fields)
    assert Preprocessing.from_dict(json.loads(json.dumps(wanted.to_dict()))) == wanted


def test_lists_become_tuples_of_numbers():
    wanted = Preprocessing(spacing_mm=[4, 1, 1], intensities=[NONE], transpose=[0, 2, 1])
    assert wanted.spacing_mm == (4.0, 1.0, 1.0)
    assert wanted.intensities == (NONE,)
    assert wanted.transpose == (0, 2, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing_mm": (1, 1)}, "spacing_mm must be three positive numbers"),
        ({"spacing_mm": (1, 0, 1)}, "spacing_mm must be three positive numbers"),
        ({"intensities": ()}, "intensities must name a scheme for each channel"),
        ({"crop": "body"}, "crop must be one of .* got 'body'"),
        ({"axes": "ras"}, "axes must be one of .* got 'ras'"),
        ({"image_order": 2}, "image_order must be one of .* got 2"),
        ({"logits_order_z": 5}, "logits_order_z must be one of"),
        ({"transpose": (0, 0, 1)}, "transpose must be a permutation"),
        ({"anisotropy_threshold": 0.5}, "anisotropy_threshold must be >= 1"),
        ({"anisotropy_threshold": np.nan}, "anisotropy_threshold must be >= 1"),
        (
            {
                "normalize_first": False,
                "intensities": (Intensity(scheme="zscore", within_mask=True),),
            },
            "within_mask needs normalize_first",
        ),
    ],
)
def test_contradictions_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"spacing_mm": (1, 1, 1), "intensities": (NONE,), **changes})


def test_unknown_and_missing_fields_are_named():
    fields = Preprocessing(spacing_mm=None, intensities=(NONE,)).to_dict()
    with pytest.raises(ValueError, match=r"unknown fields \['spacing'\]"):
        Preprocessing.from_dict({**fields, "spacing": 1})
    del fields["intensities"]
    with pytest.raises(ValueError, match=r"lacks the fields \['intensities'\]"):
        Preprocessing.from_dict(fields)
