from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from flare_infer.model import write_model
from flare_infer.predictor import Predictor
from flare_io.geometry import AxisOrder, Geometry
from flare_io.volume import Volume

from .conftest import random_weights, tiny_net


@pytest.fixture
def predictor(model_folder):
    return Predictor.load(model_folder, device="cpu")


def test_labels_lie_on_the_grid_of_the_image(predictor, ct):
    labels = predictor.predict(replace(ct, notes=("repaired",)))
    assert labels.shape == ct.shape
    assert labels.geometry == ct.geometry
    assert labels.notes == ("repaired",)
    assert labels.array.dtype == np.uint8
    found = set(np.unique(labels.array).tolist())
    assert len(found) > 1
    assert found <= {0, 1, 3, 14}


def test_volume_array_and_file_give_the_same(predictor, ct, tmp_path):
    from flare_io.files import write_volume

    path = tmp_path / "ct.nii.gz"
    write_volume(ct, path)
    whole = predictor.predict(ct).array
    assert np.array_equal(predictor.predict(ct.array, ct.geometry).array, whole)
    assert np.array_equal(predictor.predict(path).array, whole)
    assert np.array_equal(predictor.predict([str(path)]).array, whole)


def all_orders():
    from itertools import permutations, product

    flips = product((False, True), repeat=3)
    return [AxisOrder(p, f) for f in flips for p in permutations((0, 1, 2))]


def test_b50_all_48_axis_orders_give_the_same_labels_in_the_patient(predictor, ct):
    expected = predictor.predict(ct).array
    orders = all_orders()
    assert len(orders) == 48
    for order in orders:
        found = predictor.predict(ct.reordered(order))
        assert np.array_equal(order.undo(found.array), expected), order


def test_a_model_that_takes_axes_as_stored_does_see_the_order(spec, ct, tmp_path):
    stored = replace(spec, preprocessing=replace(spec.preprocessing, axes="as_stored"))
    write_model(tmp_path / "m", stored, [random_weights(spec.net)])
    predictor = Predictor.load(tmp_path / "m", device="cpu")
    flip = AxisOrder((0, 1, 2), (True, False, False))
    found = flip.undo(predictor.predict(ct.reordered(flip)).array)
    assert not np.array_equal(found, predictor.predict(ct).array)


def test_both_modes_agree_almost_everywhere(predictor, ct):
    fast = predictor.predict(ct, mode="fast").array
    exact = predictor.predict(ct, mode="exact").array
    assert (fast == exact).mean() > 0.98


def test_tta_changes_the_mean_and_needs_mirror_axes(predictor, spec, ct, tmp_path):
    assert predictor.predict(ct, tta=True).shape == ct.shape
    plain = replace(spec, windows=replace(spec.windows, mirror_axes=()))
    write_model(tmp_path / "m", plain, [random_weights(spec.net)])
    with pytest.raises(ValueError, match="trained with mirroring"):
        Predictor.load(tmp_path / "m").predict(ct, tta=True)


def test_an_ensemble_of_one_net_twice_is_that_net(predictor, spec, ct, tmp_path):
    weights = random_weights(spec.net)
    write_model(tmp_path / "twice", spec, [weights, weights])
    twice = Predictor.load(tmp_path / "twice", device="cpu")
    assert np.array_equal(twice.predict(ct).array, predictor.predict(ct).array)


def test_regions_are_predicted(with_regions, ct, tmp_path):
    write_model(tmp_path / "m", with_regions, [random_weights(with_regions.net)])
    labels = Predictor.load(tmp_path / "m", device="cpu").predict(ct)
    assert set(np.unique(labels.array).tolist()) <= {0, 1, 3, 14}


def test_channels_of_a_case_are_counted(spec, ct, tmp_path):
    scheme = spec.preprocessing.intensities[0]
    two = replace(
        spec,
        net=tiny_net(in_channels=2),
        preprocessing=replace(spec.preprocessing, intensities=(scheme, scheme)),
    )
    write_model(tmp_path / "m", two, [random_weights(two.net)])
    predictor = Predictor.load(tmp_path / "m", device="cpu")
    assert predictor.predict([ct, ct]).shape == ct.shape
    with pytest.raises(ValueError, match="volumes must be 2"):
        predictor.predict(ct)


def test_threads_share_a_predictor(predictor, ct):
    expected = predictor.predict(ct).array
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: predictor.predict(ct).array, range(6)))
    assert all(np.array_equal(each, expected) for each in found)


def test_one_bad_case_costs_one_case(predictor, ct, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"<html>")
    outcomes = list(predictor.predict_many([ct, bad, ct]))
    assert [each.error is None for each in outcomes] == [True, False, True]
    assert "bad.nii.gz" in str(outcomes[1].error)
    assert np.array_equal(outcomes[0].labels.array, outcomes[2].labels.array)
    steps = {"read", "prepare", "search", "network", "decide", "restore"}
    assert set(outcomes[0].seconds) == steps


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, ct: p.predict(ct.array), "geometry must be given"),
        (lambda p, ct: p.predict(ct, ct.geometry), "geometry goes with an array only"),
        (lambda p, ct: p.predict(ct, mode="quick"), "mode must be fast or exact, got 'quick'"),
        (lambda p, ct: p.predict([]), "at least one channel"),
        (lambda p, ct: p.predict(ct.with_array(ct.array * np.nan)), "9360 voxels that are not fin"),
        (lambda p, ct: p.predict(ct.with_array(ct.array + 0j)), "must hold numbers"),
    ],
)
def test_wrong_arguments_are_named(predictor, ct, call, message):
    with pytest.raises(ValueError, match=message):
        call(predictor, ct)


def test_devices_that_are_not_there(model_folder):
    with pytest.raises(ValueError, match="auto, cpu or cuda"):
        Predictor.load(model_folder, device="meta")
    count = torch.cuda.device_count()
    with pytest.raises(RuntimeError, match=f"found {count} GPUs; use --device cpu") as caught:
        Predictor.load(model_folder, device=f"cuda:{count}")
    assert caught.value.exit_code == 5


def test_a_budget_too_small_names_the_smallest_that_works(model_folder, ct):
    predictor = Predictor.load(model_folder)
    plan = predictor.explain(ct.shape, spacing_mm=ct.geometry.spacing_mm, measure=False)
    needed = plan.peak_mib
    assert plan.seconds is None
    with pytest.raises(MemoryError, match=f"give at least {needed}"):
        Predictor.load(model_folder, memory_mib=needed - 1).predict(ct)
    assert Predictor.load(model_folder, memory_mib=needed).predict(ct).shape == ct.shape


def test_a_tight_budget_takes_more_time_and_gives_the_same_labels(spec, tmp_path):
    wide = replace(spec, windows=replace(spec.windows, step=1.0))
    write_model(tmp_path / "m", wide, [random_weights(spec.net)])
    hu = np.random.default_rng(0).normal(60, 120, (6, 240, 240)).astype(np.int16)
    ct = Volume(hu, Geometry((4.0, 2.0, 2.0)))
    how = {"spacing_mm": ct.geometry.spacing_mm, "mode": "exact", "measure": False}
    free = Predictor.load(tmp_path / "m", device="cpu")
    needed = free.explain(ct.shape, **how).peak_mib
    tight = Predictor.load(tmp_path / "m", device="cpu", memory_mib=needed - 1)
    plan = tight.explain(ct.shape, **how)
    assert plan.compact
    assert plan.peak_mib <= needed - 1
    expected = free.predict(ct, mode="exact").array
    assert np.array_equal(tight.predict(ct, mode="exact").array, expected)


@pytest.mark.parametrize("tta", [False, True])
def test_windows_are_explained_as_they_are_looked_at(predictor, ct, tta):
    told = []
    plan = predictor.explain(ct.shape, spacing_mm=ct.geometry.spacing_mm, tta=tta)
    predictor.predict(ct, tta=tta, on_window=lambda: told.append(1))
    # All mirror images of a window are one call.
    assert plan.windows == len(told) * (8 if tta else 1)
    assert plan.macs == plan.windows * predictor.model.macs
    assert plan.seconds > 0


def test_a_tiny_volume_is_padded_to_a_window(predictor):
    one = Volume(np.full((1, 1, 1), 40, np.int16), Geometry((4.0, 2.0, 2.0)))
    assert predictor.predict(one).shape == (1, 1, 1)


def test_progress_may_cancel(predictor, ct):
    def cancel():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor.predict(ct, on_window=cancel)


def test_every_order_head_and_layout_gives_labels_of_the_model(spec, ct, tmp_path):
    three = replace(spec, net=tiny_net(out_channels=3), background="threshold")
    choices = {
        "hybrid": replace(spec, overlay=(14,)),
        "threshold": three,
        "sigmoid": replace(three, overlay=(1, 3, 14)),
        "nearest": replace(spec, order="decide-resample", components={"min_share": 0.2}),
        "linear": replace(spec, order="decide-resample-linear"),
        "flare22": replace(spec, windows=replace(spec.windows, layout="flare22", skip_below=1)),
    }
    for name, chosen in choices.items():
        write_model(tmp_path / name, chosen, [random_weights(chosen.net)])
        for mode in ("exact", "fast"):
            found = Predictor.load(tmp_path / name, device="cpu").predict(ct, mode=mode)
            assert found.geometry == ct.geometry
            labels = set(np.unique(found.array).tolist())
            assert len(labels) > 1, (name, mode)
            assert labels <= {0, 1, 3, 14}


@pytest.mark.parametrize("order", all_orders()[::11], ids=str)
def test_slabs_come_as_they_are_decided_and_make_up_the_labels(predictor, ct, order):
    image = ct.reordered(order)
    got = np.zeros(image.shape, np.uint8)
    windows, when = [], []

    def take(place, labels):
        assert not got[place].any()
        got[place] = labels
        when.append(len(windows))

    labels = predictor.predict(image, on_slab=take, on_window=lambda: windows.append(1))
    assert np.array_equal(got, labels.array)
    assert len(when) > 1
    # The first labels came before the last windows were looked at.
    assert when[0] < len(windows)


def test_models_that_need_all_labels_give_one_slab(spec, ct, tmp_path):
    tidy = replace(spec, components={"min_share": 0.5})
    write_model(tmp_path / "m", tidy, [random_weights(spec.net)])
    slabs = []
    labels = Predictor.load(tmp_path / "m", device="cpu").predict(
        ct, on_slab=lambda place, slab: slabs.append(slab.copy())
    )
    assert len(slabs) == 1
    assert np.array_equal(slabs[0], labels.array)


def test_a_slab_may_cancel(predictor, ct):
    def cancel(place, labels):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor.predict(ct, on_slab=cancel)


def test_tensors_are_taken(predictor, ct):
    expected = predictor.predict(ct).array
    tensor = torch.from_numpy(ct.array.copy())
    assert np.array_equal(predictor.predict(tensor, ct.geometry).array, expected)


def test_two_models_run_side_by_side(predictor, with_regions, ct, tmp_path):
    write_model(tmp_path / "m", with_regions, [random_weights(with_regions.net, seed=3)] * 2)
    other = Predictor.load(tmp_path / "m", device="cpu")
    expected = [each.predict(ct, mode="exact").array for each in (predictor, other)]
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(each.predict, ct, mode="exact") for each in (predictor, other) * 3]
        found = [job.result().array for job in jobs]
    assert not np.array_equal(*expected)
    for number, labels in enumerate(found):
        assert np.array_equal(labels, expected[number % 2])
