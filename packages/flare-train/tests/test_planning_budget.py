import dataclasses
import functools
import math

import pytest

from flare_nets.build import build_net
from flare_train.fingerprint import Fingerprint, ForegroundIntensities
from flare_train.planning.budget import Budget, count_spending, plan_to_budget
from flare_train.planning.plan import make_plan
from flare_train.planning.rules import plan_rules

CT = ForegroundIntensities(
    mean=80, median=90, std=140, low=-960, high=300, minimum=-1024, maximum=1500
)
FLARE = Fingerprint(
    spacings_mm=((2.5, 0.8, 0.8),) * 40, shapes=((120, 512, 512),) * 40, intensities=(CT,)
)
SWIFT = dataclasses.replace(plan_rules("default"), max_stages=4)
NARROW = dataclasses.replace(SWIFT, base_features=8, max_features=80)
COARSE = (3.0, 1.5, 1.5)


PATCH = make_plan(FLARE, out_channels=15, rules=SWIFT, spacing_mm=COARSE).fullres.patch


@functools.cache
def spent_at(width):
    rules = dataclasses.replace(SWIFT, base_features=width, max_features=10 * width)
    plan = make_plan(FLARE, out_channels=15, rules=rules, spacing_mm=COARSE, patch=PATCH, batch=2)
    return count_spending(plan.fullres), plan.fullres


def test_what_a_configuration_costs_is_counted_by_hand():
    spent, full = spent_at(16)
    net = build_net(full.net, device="meta")
    weights = sum(parameter.numel() for parameter in net.parameters())
    assert spent.parameters == weights
    starts = [
        math.ceil((max(edge, side) - side) / (side / 2)) + 1
        for edge, side in zip(full.median_shape, full.patch, strict=True)
    ]
    assert spent.windows == math.prod(starts)
    # Where the decoder joins: 16 channels of the skip, 16 from below, 32 together; and the input.
    voxels = math.prod(full.patch)
    assert spent.inference_mib == pytest.approx(4 * (65 * voxels + weights) / 2**20, rel=1e-3)
    assert spent.training_mib > 2 * spent.inference_mib


def test_without_limits_it_is_the_plan_of_the_rules():
    plan, spent = plan_to_budget(FLARE, Budget(), out_channels=15, spacing_mm=COARSE)
    expected = make_plan(FLARE, out_channels=15, spacing_mm=COARSE, batch=2)
    assert plan.fullres == dataclasses.replace(expected.fullres, batch_dice=False)
    assert spent.excess(Budget()) == {}


@pytest.mark.parametrize("limit", ["parameters", "macs_per_case"])
def test_the_widest_net_within_a_limit_is_found(limit):
    wanted, _ = spent_at(20)
    wider, _ = spent_at(24)
    most = getattr(wanted, limit)
    assert getattr(wider, limit) > most
    plan, spent = plan_to_budget(
        FLARE, Budget(**{limit: most}), out_channels=15, rules=SWIFT, spacing_mm=COARSE
    )
    assert plan.rules.base_features == 20
    assert plan.rules.max_features == 200
    # The patch is that of the wide net: context first.
    assert plan.fullres.patch == PATCH
    assert getattr(spent, limit) <= most


def test_several_limits_hold_together():
    budget = Budget(parameters=4e6, inference_mib=400)
    plan, spent = plan_to_budget(
        FLARE, budget, out_channels=15, rules=SWIFT, spacing_mm=COARSE, batch=3
    )
    assert spent.parameters <= 4e6
    assert spent.inference_mib <= 400
    assert plan.fullres.batch == 3
    assert plan.lowres is None


def test_a_limit_of_memory_makes_the_patch_of_the_narrowest_net_smaller():
    narrow, _ = spent_at(8)
    limit = 0.5 * narrow.training_mib
    plan, spent = plan_to_budget(
        FLARE,
        Budget(training_mib=limit),
        out_channels=15,
        rules=dataclasses.replace(SWIFT, base_features=12, max_features=120),
        spacing_mm=COARSE,
    )
    assert plan.rules.base_features == 8
    assert spent.training_mib <= limit
    assert math.prod(PATCH) / 8 <= math.prod(plan.fullres.patch) < math.prod(PATCH)
    assert plan.fullres.net.check_patch(plan.fullres.patch) == plan.fullres.patch


def test_a_budget_that_nothing_keeps_says_by_how_much():
    with pytest.raises(
        ValueError,
        match=r"net of 8 features on .* exceeds parameters \d+\.\d+ times; plan a coarser",
    ):
        plan_to_budget(FLARE, Budget(parameters=1000), out_channels=15, rules=NARROW)
    # A patch of less than an eighth is no answer.
    with pytest.raises(ValueError, match=r"exceeds inference_mib .* times"):
        plan_to_budget(FLARE, Budget(inference_mib=3), out_channels=15, rules=NARROW)
    with pytest.raises(ValueError, match=r"budget\.inference_mib must be > 0, got -1"):
        Budget(inference_mib=-1)
