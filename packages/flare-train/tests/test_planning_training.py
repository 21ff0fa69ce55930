import dataclasses

import pytest

from flare_io.intensity import Intensity
from flare_train.fingerprint import Fingerprint, ForegroundIntensities
from flare_train.planning.plan import make_plan
from flare_train.planning.training import planned_preprocessing, planned_training

CT = ForegroundIntensities(
    mean=80, median=90, std=140, low=-960, high=300, minimum=-1024, maximum=1500
)
FOUND = Fingerprint(
    spacings_mm=((0.8, 4.0, 0.8),) * 30, shapes=((512, 100, 512),) * 30, intensities=(CT,)
)


def test_ct_takes_the_statistics_of_the_foreground():
    plan = make_plan(FOUND, out_channels=3)
    found = planned_preprocessing(plan, FOUND, channels=("CT",))
    ct = Intensity(scheme="ct", mean=80, std=140, low=-960, high=300)
    assert found.intensities == (ct,)
    assert found.spacing_mm == (4.0, 0.8, 0.8)
    assert found.transpose == (1, 0, 2)
    # What nnU-Net's planner writes too.
    assert (found.image_order, found.logits_order, found.anisotropy_threshold) == (3, 1, 3.0)
    assert found.crop == "nonzero"


def test_other_channels_by_name_and_a_mask_where_the_crop_removes_much():
    two = dataclasses.replace(FOUND, intensities=(CT,) * 4, relative_size=0.74)
    plan = make_plan(two, out_channels=3)
    assert plan.fullres.net.in_channels == 4
    found = planned_preprocessing(plan, two, channels=("ct", "T1", "noNorm", "rescale_to_0_1"))
    assert [each.scheme for each in found.intensities] == ["ct", "zscore", "none", "rescale"]
    assert [each.within_mask for each in found.intensities] == [False, True, False, False]
    whole = dataclasses.replace(two, relative_size=0.75)
    found = planned_preprocessing(plan, whole, channels=("ct", "T1", "noNorm", "rgb_to_0_1"))
    assert not any(each.within_mask for each in found.intensities)
    assert found.intensities[3].scheme == "rgb"


def test_as_many_names_as_channels():
    with pytest.raises(ValueError, match=r"1 channels of the fingerprint, got \('CT', 'PET'\)"):
        planned_preprocessing(make_plan(FOUND, out_channels=3), FOUND, channels=("CT", "PET"))


def test_training_takes_net_patch_batch_and_dice_of_the_plan():
    plan = make_plan(FOUND, out_channels=3)
    config = planned_training(plan.fullres, classes=(0, 1, 14), epochs=7)
    assert (config.net, config.patch) == (plan.fullres.net, plan.fullres.patch)
    assert (config.batch, config.epochs) == (plan.fullres.batch, 7)
    assert config.loss.batch_dice is plan.fullres.batch_dice is True
    assert config.classes == (0, 1, 14)
    with pytest.raises(ValueError, match="out_channels"):
        planned_training(plan.fullres, classes=(0, 1))
