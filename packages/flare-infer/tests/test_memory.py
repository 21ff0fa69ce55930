from dataclasses import replace

import numpy as np
import pytest

from flare_infer.backends.choice import Choice
from flare_infer.memory import plan_case, require_memory, volume_grid
from flare_infer.model import Model, Overlay
from flare_io.geometry import AxisOrder, Geometry
from flare_io.volume import Volume

MIB = 2**20
TORCH = Choice(device="cpu", backend="torch")
OPENVINO = Choice(device="cpu", backend="openvino", precision="float32")
NARROW = Choice(device="cpu", backend="openvino", precision="bfloat16")


@pytest.fixture
def model(tmp_path, spec):
    return Model(
        folder=tmp_path, spec=spec, members=1, parameters=10**6, macs=1000, weights_sha256="0"
    )


def plan(model, planes, **options):
    options = {"choice": TORCH, **options}
    return plan_case(model, (planes, 512, 512), spacing_mm=(4.0, 2.0, 2.0), **options)


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_only_volume_and_labels_grow_with_the_scan(model, mode):
    sizes = [plan(model, n, mode=mode).peak_mib for n in (200, 400, 800)]
    # Two bytes a voxel come in, one goes out.
    assert sizes[1] - sizes[0] == pytest.approx(200 * 512 * 512 * 3 / MIB, abs=2)
    assert sizes[2] - sizes[1] == pytest.approx(400 * 512 * 512 * 3 / MIB, abs=2)


def test_parts_add_up_to_the_peak(model):
    found = plan(model, 100, mode="fast")
    # 10**6 weights; 8 planes twice and a window's 8, of 1 MiB each; ten planes of four channels;
    # to decide, twelve.
    assert found.parts_mib == {
        "runtime": 230,
        "weights": 4,
        "networks": 0,
        "volume": 50,
        "labels": 25,
        "prepared planes": 16 + 8,
        "sums": 40,
        "at work": 48,
    }
    # The weights are 3.8.
    assert found.peak_mib == 421


@pytest.mark.parametrize(("choice", "copies", "value_bytes"), [(OPENVINO, 2, 4), (NARROW, 1.5, 2)])
def test_openvino_starts_small_and_keeps_activations(model, choice, copies, value_bytes):
    by_torch, found = (plan(model, 100, mode="fast", choice=each) for each in (TORCH, choice))
    # Four times 4 features of 8 x 16 x 16 voxels.
    held = value_bytes * 4 * 4 * 2048 / MIB
    weights = 4e6 * (copies - 1) / MIB
    expected = by_torch.peak_mib - 230 + 110 + weights + held
    assert found.peak_mib == pytest.approx(expected, abs=1)
    assert found.parts_mib["runtime"] == 110
    assert found.parts_mib["weights"] == np.ceil(4e6 * copies / MIB)
    for part in ("volume", "labels", "prepared planes", "sums", "at work"):
        assert found.parts_mib[part] == by_torch.parts_mib[part]


def test_what_openvino_keeps_it_keeps_for_every_member_and_layer(model):
    patch = (32, 128, 128)
    large = replace(
        model, spec=replace(model.spec, windows=replace(model.spec.windows, patch=patch))
    )
    # Half a million voxels: 2 MiB a channel, four times 4 features.
    assert plan(large, 100, choice=OPENVINO).parts_mib["networks"] == 32
    assert plan(replace(large, members=3), 100, choice=OPENVINO).parts_mib["networks"] == 96
    both = replace(large, overlays=(Overlay(name="over", labels=(14,), sha256="0", model=large),))
    assert plan(both, 100, choice=OPENVINO).parts_mib["networks"] == 64
    assert plan(both, 100).parts_mib["networks"] == 0


def test_mirror_images_are_summed_beside_the_network(model):
    windows = replace(model.spec.windows, patch=(64, 256, 256))
    large = replace(model, spec=replace(model.spec, windows=windows))
    one, all_images = (plan(large, 100, mode="fast", tta=tta).parts_mib for tta in (False, True))
    # 16 MiB a channel, four classes.
    assert all_images["at work"] == one["at work"] + 64


def test_each_layers_mode_has_its_own_library(model):
    both = Choice(device="cpu", backend="auto", precision="float32")
    exact = replace(model, spec=replace(model.spec, default_mode="exact"))
    fast = replace(model, spec=replace(model.spec, default_mode="fast"))
    mixed = replace(fast, overlays=(Overlay(name="over", labels=(14,), sha256="0", model=exact),))
    # Torch's for the layer above.
    assert plan(mixed, 100, choice=both).parts_mib["runtime"] == 230
    with pytest.raises(ValueError, match="mode exact needs backend torch"):
        plan(exact, 100, choice=OPENVINO)


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
    # All weights are loaded: a quarter more.
    assert found.parts_mib == alone.parts_mib | {"weights": 20}
    assert found.peak_mib == pytest.approx(alone.peak_mib + 50 + 4, abs=2)
    assert found.windows == plan(model, 100).windows + alone.windows


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


@pytest.mark.parametrize(
    ("choice", "mode"),
    [(TORCH, "exact"), (TORCH, "fast"), (OPENVINO, "fast"), (NARROW, "fast")],
)
def test_the_budget_that_a_refusal_names_works(model, choice, mode):
    how = {"choice": choice, "mode": mode}
    needed = plan(model, 100, budget_mib=1, **how).peak_mib
    with pytest.raises(MemoryError, match=f"give at least {needed}, "):
        require_memory(needed, 1)
    again = plan(model, 100, budget_mib=needed, **how)
    assert again.peak_mib == needed
    require_memory(again.peak_mib, needed)
    assert plan(model, 100, budget_mib=needed - 1, **how).peak_mib == needed
