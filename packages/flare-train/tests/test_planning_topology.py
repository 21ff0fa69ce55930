import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_nets.presets import preset
from flare_train.planning.topology import plan_topology

edges = st.tuples(*[st.integers(8, 400)] * 3)
spacings = st.tuples(*[st.floats(0.3, 8)] * 3)


@pytest.mark.parametrize(
    ("name", "patch", "spacing"),
    [
        # Published nets whose topology is the rule's, with spacing and patch as printed.
        ("s5-plain", (96, 160, 160), (1.0, 0.8, 0.8)),
        ("resenc-m", (96, 160, 160), (1.0, 0.8, 0.8)),
        ("s3", (128, 128, 128), (2.42, 1.95, 1.95)),
        ("s2-tumor", (112, 160, 160), (1.8, 1.8, 1.8)),
        ("s2-final", (56, 160, 192), (2.5, 0.8, 0.8)),
    ],
)
def test_published_nets_have_the_topology_of_the_rule(name, patch, spacing):
    net = preset(name).config
    found = plan_topology(patch, spacing, max_stages=net.stages)
    assert found.strides == net.strides
    assert found.kernels == net.kernels
    assert found.patch == patch


def test_s1_and_flare22_stop_before_the_rule_does():
    patch, spacing = (32, 128, 192), (4.0, 1.2, 1.2)
    cut = plan_topology(patch, spacing, max_stages=5)
    # 4.0 / 1.2 is 3.3: z joins once the plane reaches 2.4 mm.
    assert cut.strides == ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert cut.kernels[0] == (1, 3, 3)
    assert plan_topology(patch, spacing).stages == 6
    swift = plan_topology(patch, (3.0, 1.5, 1.5), max_stages=4)
    assert swift.strides == preset("swift").config.strides


def test_an_axis_of_8_is_halved_with_others_and_needs_12_alone():
    assert plan_topology((8, 8, 8), (1, 1, 1)).strides == ((1, 1, 1), (2, 2, 2))
    assert plan_topology((8, 7, 7), (1, 1, 1)).stages == 1
    assert plan_topology((12, 7, 7), (1, 1, 1)).strides == ((1, 1, 1), (2, 1, 1))


def test_an_axis_twice_as_coarse_waits_and_a_bit_less_does_not():
    assert plan_topology((32, 32, 32), (2.0, 1, 1)).strides[1] == (1, 2, 2)
    assert plan_topology((32, 32, 32), (1.99, 1, 1)).strides[1] == (2, 2, 2)


def test_kernels_once_opened_stay_open():
    found = plan_topology((16, 256, 256), (5.0, 1.0, 1.0))
    z = [kernel[0] for kernel in found.kernels]
    assert z == [1, 1, 3, 3, 3, 3, 3]


def test_a_patch_is_rounded_up_to_the_divisor_and_halves_count():
    found = plan_topology((100.5, 65, 33), (1, 1, 1))
    assert found.divisor == (16, 16, 8)
    assert found.patch == (112, 80, 40)


@pytest.mark.parametrize(
    ("patch", "spacing", "message"),
    [
        ((8, 8), (1, 1, 1), r"patch must be three sizes > 0, got \(8, 8\)"),
        ((8, 8, 0), (1, 1, 1), "patch must be three sizes > 0"),
        ((8, 8, 8), (1, 0, 1), r"spacing_mm must be three lengths > 0, got \(1, 0, 1\)"),
    ],
)
def test_wrong_arguments(patch, spacing, message):
    with pytest.raises(ValueError, match=message):
        plan_topology(patch, spacing)


@given(edges, spacings)
def test_every_topology_is_one_that_a_net_can_have(patch, spacing):
    found = plan_topology(patch, spacing)
    assert len(found.kernels) == found.stages
    assert found.kernels[-1] == (3, 3, 3)
    assert all(edge % step == 0 for edge, step in zip(found.patch, found.divisor, strict=True))
    for edge, rounded, step in zip(patch, found.patch, found.divisor, strict=True):
        assert edge <= rounded < edge + step
        # Halved at most until 4 voxels are left.
        assert step == 1 or math.ceil(edge / step) >= 4
    for earlier, later in zip(found.kernels, found.kernels[1:], strict=False):
        assert all(a <= b for a, b in zip(earlier, later, strict=True))


@given(edges, spacings, st.permutations(range(3)))
def test_the_rule_does_not_know_the_names_of_axes(patch, spacing, order):
    found = plan_topology(patch, spacing)
    turned = plan_topology([patch[k] for k in order], [spacing[k] for k in order])
    assert turned.strides == tuple(tuple(row[k] for k in order) for row in found.strides)
    assert turned.kernels == tuple(tuple(row[k] for k in order) for row in found.kernels)
