from dataclasses import FrozenInstanceError, replace

import pytest

from flare_infer.fast import SAME_WINDOWS, FastSettings


def test_texts_become_settings_of_the_right_kind_and_later_ones_win():
    settings = FastSettings.from_texts(
        ["step=0.75", "body=off", "coarse=2", "draft=True", "constant=no", "step=none"]
    )
    assert settings == FastSettings(body=False, coarse=2.0, draft=True, constant=False)
    assert FastSettings.from_texts(["coarse_margin_mm=15"]).coarse_margin_mm == 15.0
    assert FastSettings.from_texts([]) == FastSettings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepp=0.5", "with a name of step, body, body_margin_mm, constant, coarse"),
        ("step", "must be NAME=VALUE"),
        ("body=maybe", "body must be on or off, got 'maybe'"),
        ("step=wide", "step must be a number, got 'wide'"),
        ("body_margin_mm=none", "body_margin_mm must be a number, got 'none'"),
        ("step=0", r"step must be in \(0, 1\], got 0.0"),
        ("step=1.01", r"step must be in \(0, 1\], got 1.01"),
        ("coarse=1", "coarse must be above 1, or none, got 1.0"),
        ("coarse=nan", "coarse must be above 1, or none, got nan"),
        ("coarse_margin_mm=-1", "coarse_margin_mm must be at least 0, got -1.0"),
    ],
)
def test_what_is_wrong_is_named(text, said):
    with pytest.raises(ValueError, match=said):
        FastSettings.from_texts([text])


def test_they_are_frozen_and_go_through_a_dict():
    settings = FastSettings(step=0.75, coarse=2.5)
    assert FastSettings(**settings.to_dict()) == settings
    assert list(settings.to_dict())[:2] == ["step", "body"]
    with pytest.raises(FrozenInstanceError):
        settings.step = 0.5


def test_step_and_draft_change_the_description_and_nothing_else_does(spec):
    assert FastSettings(coarse=2.0).applied_to(spec) == spec
    changed = FastSettings(step=0.8, draft=True).applied_to(spec)
    assert changed.windows.step == 0.8
    assert changed.order == "decide-resample"
    assert replace(changed, windows=spec.windows, order=spec.order) == spec


def test_a_layout_that_chooses_its_windows_keeps_its_step(spec):
    chooses = replace(spec, windows=replace(spec.windows, layout="flare22"))
    assert FastSettings(step=0.8).applied_to(chooses) == chooses


def test_same_windows_leaves_none_out():
    assert not SAME_WINDOWS.body
    assert SAME_WINDOWS.coarse is None
    assert SAME_WINDOWS.step is None
