import dataclasses
import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flare_train.fingerprint import Fingerprint, ForegroundIntensities
from flare_train.planning.feature_maps import feature_map_voxels
from flare_train.planning.plan import initial_patch, make_plan
from flare_train.planning.rules import plan_rules

CT = ForegroundIntensities(
    mean=80, median=90, std=140, low=-960, high=300, minimum=-1024, maximum=1500
)


def dataset(spacing, shape, *, cases=100):
    return Fingerprint(spacings_mm=(spacing,) * cases, shapes=(shape,) * cases, intensities=(CT,))


FLARE = dataset((1.0, 0.8, 0.8), (280, 500, 500))


def test_s5_of_the_paper_comes_out_of_its_fingerprint():
    plan = make_plan(FLARE, out_channels=2)
    full = plan.fullres
    assert (full.patch, full.batch, full.spacing_mm) == ((96, 160, 160), 2, (1.0, 0.8, 0.8))
    assert full.net.strides == ((1, 1, 1), *((2, 2, 2),) * 4, (1, 2, 2))
    assert full.net.features == (32, 64, 128, 256, 320, 320)
    # The patch sees 2.5e6 of 7e7 voxels: a coarser net is planned, and Dice over the batch.
    assert full.batch_dice
    assert plan.lowres is not None
    assert not plan.lowres.batch_dice
    assert math.prod(plan.lowres.patch) >= 0.25 * math.prod(plan.lowres.median_shape)
    assert (
        make_plan(FLARE, out_channels=2, rules=plan_rules("resenc-m")).fullres.patch == full.patch
    )


def test_the_first_patch_has_the_volume_of_256_cubed_and_stays_in_the_case():
    assert initial_patch((1, 1, 1), (999, 999, 999)) == (256, 256, 256)
    # Volume kept: (2, 1, 1) by 2 ** (1 / 3).
    assert initial_patch((2, 1, 1), (999, 999, 999)) == (161, 323, 323)
    assert initial_patch((2, 1, 1), (90.5, 999, 200)) == (90.5, 323, 200)


def test_a_small_case_has_no_lowres_and_a_larger_batch():
    found = make_plan(dataset((1, 1, 1), (36, 50, 35), cases=2600), out_channels=3)
    assert found.lowres is None
    assert not found.fullres.batch_dice
    assert found.fullres.patch == (40, 56, 40)
    assert feature_map_voxels(found.fullres.net, (40, 56, 40)) == 19_174_400
    # 5.6e8 / 19 174 400 is 29.2 times the memory of two patches.
    assert found.fullres.batch == 58


def test_a_batch_holds_at_most_a_twentieth_of_the_dataset():
    few = make_plan(dataset((1, 1, 1), (36, 50, 35), cases=100), out_channels=3)
    assert few.fullres.batch == round(36 * 50 * 35 * 100 * 0.05 / (40 * 56 * 40))
    fewer = make_plan(dataset((1, 1, 1), (36, 50, 35), cases=10), out_channels=3)
    assert fewer.fullres.batch == 2


def test_axes_are_turned_so_that_the_coarsest_is_first():
    plan = make_plan(dataset((0.8, 4.0, 0.9), (500, 80, 400)), out_channels=2)
    assert plan.transpose == (1, 0, 2)
    assert plan.fullres.spacing_mm == (4.0, 0.8, 0.9)
    assert plan.fullres.median_shape == (80, 500, 400)
    assert plan.fullres.net.strides[1] == (1, 2, 2)


def test_spacing_patch_and_batch_can_be_given():
    plan = make_plan(
        FLARE, out_channels=15, spacing_mm=(3.0, 1.5, 1.5), patch=(32, 128, 192), batch=4
    )
    assert plan.fullres.spacing_mm == (3.0, 1.5, 1.5)
    assert (plan.fullres.patch, plan.fullres.batch, plan.lowres) == ((32, 128, 192), 4, None)
    # 280 / 3 and 500 * 0.8 / 1.5, rounded.
    assert plan.fullres.median_shape == (93, 267, 267)
    with pytest.raises(ValueError, match=r"multiple of the total stride.*x 160 or 192"):
        make_plan(FLARE, out_channels=15, patch=(96, 160, 190))
    with pytest.raises(ValueError, match=r"spacing_mm must be three lengths > 0, got \(0, 1, 1\)"):
        make_plan(FLARE, out_channels=15, spacing_mm=(0, 1, 1))


def test_an_ignore_label_counts_for_memory_as_in_nnunet():
    plain, more = (
        make_plan(FLARE, out_channels=14, outputs=outputs).fullres for outputs in (None, 200)
    )
    assert plain.net.out_channels == more.net.out_channels == 14
    assert math.prod(more.patch) < math.prod(plain.patch)


def test_what_cannot_fit_is_an_error_with_the_way_out():
    tight = dataclasses.replace(plan_rules("default"), memory_gb=1e-4)
    with pytest.raises(ValueError, match=r"too small for a U-Net|no patch fits"):
        make_plan(FLARE, out_channels=2, rules=tight)
    with pytest.raises(ValueError, match="too small for a U-Net"):
        make_plan(dataset((1, 1, 1), (5, 6, 7)), out_channels=2)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(0.4, 6)] * 3),
    st.tuples(*[st.integers(20, 600)] * 3),
    st.sampled_from([2.0, 8.0, 24.0]),
)
# The finest axis is too short to be halved, the others too coarse to go first.
@example((2.0, 0.5, 1.0), (214, 20, 267), 2.0)
def test_every_plan_keeps_to_memory_and_its_net_takes_the_patch(spacing, shape, memory_gb):
    rules = dataclasses.replace(plan_rules("default"), memory_gb=memory_gb)
    try:
        plan = make_plan(dataset(spacing, shape), out_channels=3, rules=rules)
    except ValueError as error:
        refused = re.match(r"patch \((\d+), (\d+), (\d+)\) is too small for a U-Net", str(error))
        assert refused is not None
        assert min(map(int, refused.groups())) < 12
        return
    for found in (plan.fullres, plan.lowres):
        if found is None:
            continue
        assert found.net.check_patch(found.patch) == found.patch
        assert feature_map_voxels(found.net, found.patch) <= rules.voxels
        assert found.batch >= 2
    assert plan.fullres.spacing_mm[0] == max(plan.fullres.spacing_mm)
    if plan.lowres is not None:
        assert all(
            low >= full
            for low, full in zip(plan.lowres.spacing_mm, plan.fullres.spacing_mm, strict=True)
        )
