import argparse
from dataclasses import fields

import pytest

from flare_io.policy import ReadPolicy
from flare_io.policy_arguments import add_policy_arguments, policy_from


def parsed(*argv, **options):
    parser = argparse.ArgumentParser()
    add_policy_arguments(parser, **options)
    return policy_from(parser.parse_args(argv))


def test_no_option_is_the_default_policy():
    assert parsed() == ReadPolicy()


def test_every_field_has_its_option():
    policy = parsed(
        "--strict", "--allow-thin", "--volume", "2", "--nan", "-1024", "--assume-orientation",
        "ras", "--use-transform", "qform", "--any-spacing", "--max-voxels", "99", "--series",
        "1.2", "--fill-gaps", "--resample-z", "--fix-tilt", "--hu-check", "--hu-offset=-1024",
    )  # fmt: skip
    default = ReadPolicy()
    for field in fields(ReadPolicy):
        assert getattr(policy, field.name) != getattr(default, field.name), field.name
    assert policy.assume_orientation == "RAS" and policy.nan_value == -1024


def test_the_hu_check_can_be_the_default_of_a_command():
    assert parsed(hu_check=True).hu_check
    assert not parsed("--assume-hu", hu_check=True).hu_check
    assert not parsed("--assume-hu").hu_check
    assert parsed("--hu-check").hu_check


@pytest.mark.parametrize(
    "fields_",
    [
        {"assume_orientation": "RAR"},
        {"assume_orientation": "RA"},
        {"assume_orientation": "XYZ"},
        {"max_voxels": 0},
        {"volume_index": -1},
        {"use_transform": "best"},
        {"nan_value": float("nan")},
        {"hu_offset": float("inf")},
    ],
)
def test_impossible_policies_are_wrong_arguments(fields_):
    with pytest.raises(ValueError, match=next(iter(fields_))):
        ReadPolicy(**fields_)
