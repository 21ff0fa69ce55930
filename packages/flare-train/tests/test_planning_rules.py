import dataclasses
import subprocess
import sys

import pytest

from flare_nets.presets import preset
from flare_train.planning.rules import PlanRules, plan_rules, plan_rules_names
from flare_train.planning.topology import Topology, plan_topology


@pytest.mark.parametrize(("rules", "name"), [("default", "s5-plain"), ("resenc-m", "resenc-m")])
def test_the_nets_of_s5_are_those_of_the_rules(rules, name):
    topology = plan_topology((96, 160, 160), (1.0, 0.8, 0.8))
    net = plan_rules(rules).net(topology, in_channels=1, out_channels=2)
    assert net == preset(name).config


def test_names_and_the_nearest_one():
    assert plan_rules_names() == ("default", "resenc-m", "resenc-l", "resenc-xl")
    assert [plan_rules(name).voxels for name in plan_rules_names()] == [5.6e8, 6.8e8, 2.1e9, 3.6e9]
    with pytest.raises(ValueError, match="named 'resenc_m'; did you mean 'resenc-m'"):
        plan_rules("resenc_m")
    with pytest.raises(ValueError, match="named 'zzz'; known are default, resenc-m"):
        plan_rules("zzz")


def test_memory_scales_the_voxels():
    assert dataclasses.replace(plan_rules("default"), memory_gb=4).voxels == 2.8e8
    assert dataclasses.replace(plan_rules("resenc-l"), memory_gb=8).voxels == pytest.approx(7e8)


def test_counts_go_on_with_the_last():
    rules = PlanRules(name="own", convs=(1, 2), decoder_convs=(3, 1), base_features=8)
    deep = plan_topology((64, 64, 64), (1, 1, 1))
    net = rules.net(deep, in_channels=2, out_channels=3)
    assert net.convs == (1, 2, 2, 2, 2)
    assert net.decoder_convs == (3, 1, 1, 1)
    assert net.features == (8, 16, 32, 64, 128)


def test_a_patch_that_cannot_be_halved_has_no_net():
    flat = Topology(patch=(4, 4, 4), kernels=((3, 3, 3),), strides=((1, 1, 1),))
    with pytest.raises(ValueError, match=r"patch \(4, 4, 4\) is too small for a U-Net"):
        plan_rules("default").net(flat, in_channels=1, out_channels=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_gb": 0}, "rules.memory_gb must be > 0, got 0"),
        ({"convs": ()}, r"rules.convs must hold counts >= 1, got \(\)"),
        ({"decoder_convs": (2, 0)}, "rules.decoder_convs must hold counts >= 1"),
        ({"base_features": 64, "max_features": 32}, "max_features must be >= base_features, 64"),
        ({"max_stages": 1}, "rules.max_stages must be >= 2, got 1"),
        ({"min_batch": 0}, "rules.min_batch must be >= 1"),
        ({"dataset_share": 1.5}, r"rules.dataset_share must lie in \[0, 1\]"),
    ],
)
def test_rules_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        PlanRules(name="own", **changes)


def test_planning_is_imported_without_torch():
    code = (
        "import sys, flare_train.planning, flare_train.commands.plan, "
        "flare_train.commands.export_nnunet; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
