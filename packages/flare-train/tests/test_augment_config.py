import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_train.augment_config import AugmentConfig
from flare_train.augment_presets import PRESETS

SIZES = st.tuples(*[st.integers(1, 200)] * 3)


def test_presets_hold_the_published_lists():
    # systems.md 1.5: nnU-Net's trainer
    nnunet = AugmentConfig.preset("nnunet")
    assert (nnunet.rotation_p, nnunet.rotation_degrees) == (0.2, (30.0, 30.0, 30.0))
    assert (nnunet.in_plane_degrees, nnunet.scale_p, nnunet.scale) == (180.0, 0.2, (0.7, 1.4))
    assert nnunet.elastic_p == 0
    assert (nnunet.noise_p, nnunet.noise_deviation) == (0.1, (0.0, 0.1))
    assert (nnunet.blur_p, nnunet.blur_channel_p, nnunet.blur_sigma_voxels) == (0.2, 0.5, (0.5, 1))
    assert (nnunet.brightness_p, nnunet.brightness) == (0.15, (0.75, 1.25))
    assert (nnunet.contrast_p, nnunet.contrast) == (0.15, (0.75, 1.25))
    assert (nnunet.low_resolution_p, nnunet.low_resolution_channel_p) == (0.25, 0.5)
    assert nnunet.low_resolution == (0.5, 1.0)
    assert (nnunet.gamma_p, nnunet.gamma_inverted_p, nnunet.gamma) == (0.3, 0.1, (0.7, 1.5))
    assert nnunet.mirror_axes == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("none", set()),
        ("light", {"rotation", "scale", "elastic", "brightness", "gamma", "gamma_inverted"}),
        (
            "swift",
            {"rotation", "scale", "elastic", "brightness", "contrast", "gamma", "gamma_inverted"},
        ),
    ],
)
def test_presets_change_what_the_papers_list_and_mirror_nothing(name, changes):
    config = AugmentConfig.preset(name)
    ways = {field.name[:-2] for field in dataclasses.fields(config) if field.name.endswith("_p")}
    assert {way for way in ways if getattr(config, f"{way}_p") > 0} - {
        "blur_channel",
        "low_resolution_channel",
    } == changes
    assert config.mirror_axes == ()


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="got 'nnunett'; did you mean 'nnunet'"):
        AugmentConfig.preset("nnunett")
    with pytest.raises(ValueError, match=r"one of \['light', 'nnunet', 'none', 'swift'\]"):
        AugmentConfig.preset("?")


@pytest.mark.parametrize(
    ("patch", "flat"),
    [
        ((56, 224, 224), True),  # S1 Fine, 4
        ((32, 128, 192), True),  # S1 Swift, 6
        ((56, 160, 192), True),  # S2 final, 3.4
        ((48, 192, 192), True),  # S4 teacher stage 1, 4
        ((64, 192, 192), False),  # S4 teacher stage 0, exactly 3
        ((112, 160, 160), False),  # S2 tumor
        ((128, 128, 128), False),  # S3
        ((96, 160, 160), False),  # S5
    ],
)
def test_flat_patches_are_changed_in_the_plane(patch, flat):
    assert AugmentConfig().stays_in_plane(patch) is flat
    assert AugmentConfig(in_plane="always").stays_in_plane(patch)
    assert not AugmentConfig(in_plane="never").stays_in_plane(patch)
    config = AugmentConfig.preset("nnunet")
    assert config.largest_angles(patch) == ((180.0, 0.0, 0.0) if flat else (30.0, 30.0, 30.0))


@pytest.mark.parametrize(
    ("patch", "source"),
    [
        # What nnU-Net v2.8.1 prints as its initial patch size.
        ((32, 128, 192), (32, 225, 225)),
        ((56, 224, 224), (56, 263, 263)),
        ((64, 192, 192), (178, 308, 233)),
        ((96, 160, 160), (191, 257, 219)),
        ((128, 128, 128), (205, 205, 205)),
        ((112, 160, 160), (208, 257, 228)),
    ],
)
def test_source_patch_is_that_of_nnunet(patch, source):
    assert AugmentConfig.preset("nnunet").source_patch(patch) == source


def test_source_patch_follows_what_moves():
    patch = (64, 64, 64)
    scaled = AugmentConfig(scale_p=0.5, scale=(0.9, 1.1))
    assert scaled.source_patch(patch) == (70, 70, 70)  # 64 * 1.1 = 70.4
    elastic = AugmentConfig(elastic_p=0.5, elastic_rms_voxels=(0, 2.5))
    assert elastic.source_patch(patch) == (74, 74, 74)  # 5 voxels on each side
    assert AugmentConfig(mirror_axes=(0, 1, 2)).source_patch(patch) == patch
    assert AugmentConfig(rotation_degrees=(30, 30, 30)).source_patch(patch) == patch


def test_source_patch_turns_in_millimeters():
    # 40 voxels of 4 mm are as long as 160 of 1 mm: a quarter turn needs 160 and 40 of them.
    config = AugmentConfig(rotation_p=1, rotation_degrees=(0, 90, 0), in_plane="never")
    assert config.source_patch((10, 20, 160), (4.0, 1.0, 1.0)) == (10, 20, 160)
    assert config.source_patch((80, 20, 160), (4.0, 1.0, 1.0)) == (80, 20, 320)


@given(SIZES, st.sampled_from(sorted(PRESETS)), st.tuples(*[st.floats(0.5, 5)] * 3))
def test_source_patch_holds_the_patch(patch, name, spacing_mm):
    source = AugmentConfig.preset(name).source_patch(patch, spacing_mm)
    assert all(size >= length for size, length in zip(source, patch, strict=True))
    if name == "none":
        assert source == patch


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_p": 2}, r"augment.noise_p must lie in \[0, 1\]"),
        ({"scale": (1.2, 0.8)}, "augment.scale must be"),
        ({"scale": (0.0, 0.8)}, "augment.scale must be"),
        ({"noise_deviation": (-1, 0)}, "augment.noise_deviation must be"),
        ({"elastic_sigma_voxels": (0.1, 3)}, "augment.elastic_sigma_voxels must be"),
        ({"low_resolution": (0.5, 2)}, "augment.low_resolution must end at 1 or below"),
        ({"rotation_degrees": (0, 0, -1)}, "augment.rotation_degrees"),
        ({"rotation_degrees": (0, 0)}, "augment.rotation_degrees"),
        ({"in_plane": "yes"}, "augment.in_plane must be one of"),
        ({"mirror_axes": (1, 3)}, "augment.mirror_axes must name axes"),
        ({"mirror_axes": (1, 1)}, "augment.mirror_axes must name axes"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**settings)
