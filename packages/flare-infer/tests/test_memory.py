from dataclasses import replace

import numpy as np
import pytest

from flare_infer.memory import network_mib, plan_case, require_memory, volume_grid
from flare_infer.model import Model, Overlay
from flare_io.geometry import AxisOrder, Geometry
from flare_io.volume import Volume
from flare_nets.cost import count_cost
from flare_nets.presets import preset

MIB = 2**20
SWIFT = preset("swift").config


@pytest.fixture
def model(tmp_path, spec):
    return Model(
        folder=tmp_path, spec=spec, members=1, parameters=10**6, macs=1000, weights_sha256="0"
    )


def plan(model, planes, **options):
    return plan_case(model, (planes, 512, 512), spacing_mm=(4.0, 2.0, 2.0), **options)


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_only_volume_and_labels_grow_with_the_scan(model, mode):
    sizes = [plan(model, n, mode=mode).peak_mib for n in (200, 400, 800)]
    # Two bytes a voxel come in, one goes out.
    assert sizes[1] - sizes[0] == pytest.approx(200 * 512 * 512 * 3 / MIB, abs=2)
    assert sizes[2] - sizes[1] == pytest.approx(400 * 512 * 512 * 3 / MIB, abs=2)


def test_parts_add_up_to_the_peak(model):
    found = plan(model, 100)
    assert sum(found.parts_mib.values()) == pytest.approx(found.peak_mib, abs=8)
    assert found.parts_mib["volume"] == 50
    assert found.parts_mib["labels"] == 25
    # Ten planes of four channels, on the same grid.
    assert found.parts_mib["sums"] == 40


def test_members_and_exact_mode_hold_more_sums(model):
    one = plan(model, 100).parts_mib["sums"]
    assert plan(model, 100, mode="exact").parts_mib["sums"] == one * 5 / 4
    assert plan(replace(model, members=3), 100).parts_mib["sums"] == one * 3


def test_windows_are_counted_with_members_and_mirror_images(model):
    # Patch 8 x 16 x 16 at half steps over 100 x 512 x 512.
    assert plan(model, 100).windows == 24 * 63 * 63
    assert plan(replace(model, members=2), 100, tta=True).windows == 24 * 63 * 63 * 2 * 8
    assert plan(model, 100).macs == 24 * 63 * 63 * 1000


def test_what_needs_all_labels_or_all_planes_holds_more(model):
    plain = plan(model, 100).peak_mib
    voxels = 100 * 512 * 512 / MIB
    tidy = replace(model, spec=replace(model.spec, components={"min_share": 0.5}))
    assert plan(tidy, 100).peak_mib == pytest.approx(plain + 2 * voxels, abs=2)
    zscore = replace(
        model.spec.preprocessing.intensities[0],
        scheme="zscore",
        mean=None,
        std=None,
        low=None,
        high=None,
    )
    whole = replace(
        model,
        spec=replace(
            model.spec, preprocessing=replace(model.spec.preprocessing, intensities=(zscore,))
        ),
    )
    assert plan(whole, 100).peak_mib >= plain + 4 * voxels


def test_the_largest_layer_counts(model):
    wide = replace(model, members=4)
    over = Overlay(name="over", labels=(14,), sha256="0", model=wide)
    both = replace(model, overlays=(over,))
    alone = plan(wide, 100)
    found = plan(both, 100)
    assert found.parts_mib == alone.parts_mib
    assert found.peak_mib == pytest.approx(alone.peak_mib + 50, abs=2)
    assert found.windows == plan(model, 100).windows + alone.windows


@pytest.mark.parametrize("patch", [(32, 128, 192), (64, 96, 96)])
@pytest.mark.parametrize("features", [16, 24, 32])
def test_activations_are_those_that_torch_would_hold(patch, features):
    net = replace(SWIFT, features=tuple(features * 2**k for k in range(4)))
    channel = 4 * np.prod(patch) / MIB
    counted = count_cost(net, patch).peak_bytes / MIB
    assert network_mib(net, patch) - 30 - 45 * channel == pytest.approx(counted, rel=0.02)


def test_many_classes_count():
    few, many = (replace(SWIFT, out_channels=n) for n in (4, 400))
    assert network_mib(many, (8, 64, 64)) > network_mib(few, (8, 64, 64)) + 30


def test_a_volume_is_planned_in_the_models_axes(spec):
    stored = Volume(np.zeros((4, 5, 6), np.int16), Geometry((3.0, 2.0, 1.0)))
    turned = stored.reordered(AxisOrder((2, 0, 1), (False, True, False)))
    assert turned.shape == (6, 4, 5)
    assert volume_grid(turned, spec.preprocessing) == ((4, 5, 6), (3.0, 2.0, 1.0))
    as_stored = replace(spec.preprocessing, axes="as_stored")
    assert volume_grid(turned, as_stored) == ((6, 4, 5), (1.0, 3.0, 2.0))


def test_a_budget_is_kept_or_refused():
    require_memory(10**9, None)
    require_memory(100, 100)
    with pytest.raises(MemoryError, match="memory_mib is 99, this case needs about 100 MiB"):
        require_memory(100, 99)


def test_a_thriftier_plan_is_chosen_before_a_case_is_refused(model):
    plain = plan(model, 100, mode="exact")
    assert not plain.compact
    assert plan(model, 100, mode="exact", budget_mib=plain.peak_mib) == plain
    thrifty = plan(model, 100, mode="exact", budget_mib=plain.peak_mib - 1)
    assert thrifty.compact
    assert thrifty.parts_mib["sums"] == plain.parts_mib["sums"] / 2
    assert thrifty.peak_mib < plain.peak_mib
    # The smallest that works is that of the thrifty plan.
    assert plan(model, 100, mode="exact", budget_mib=1) == thrifty
    # In fast mode there is none.
    assert not plan(model, 100, mode="fast", budget_mib=1).compact
