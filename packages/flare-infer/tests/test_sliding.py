from itertools import product

import numpy as np
import pytest

from flare_infer.gaussian import gaussian_weights
from flare_infer.sliding import PlaneBlocks, ensemble_logits, logit_planes
from flare_infer.windows import WindowPlan


def linear_net(window):
    """Two classes, voxel by voxel, so that windows cannot disagree."""
    return np.concatenate((window * 0 + 1, window * 3), axis=1)


def position_net(window):
    """Logits that depend on the place inside the window."""
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in window.shape[2:])
    ramp = z[:, None, None] + 0.5 * y[None, :, None] - 0.25 * x[None, None, :]
    return np.stack((window[0, 0] + ramp, window[0, 0] * ramp))[None]


def case(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)


def total_weight(shape, windows):
    """Sum of the window weights at each voxel of a case, by a net of ones."""
    padded = windows.padded_shape(shape)
    norm = np.zeros(padded)
    for start in windows.starts(padded):
        place = tuple(slice(k, k + n) for k, n in zip(start, windows.patch, strict=True))
        norm[place] += gaussian_weights(windows.patch)
    first = [(n - m) // 2 for n, m in zip(padded, shape, strict=True)]
    return norm[tuple(slice(k, k + n) for k, n in zip(first, shape, strict=True))]


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 8, 13), (3, 8, 20), (1, 1, 1)])
def test_a_voxelwise_net_gives_its_own_values_back(mode, shape):
    array = case(*shape)
    windows = WindowPlan(patch=(8, 8, 8))
    logits = ensemble_logits([linear_net], array, windows, mode=mode)
    assert logits.shape == (2, *shape)
    assert logits.dtype == (np.float16 if mode == "exact" else np.float32)
    # At a corner of the case float16 weights are so small that exact mode, like nnU-Net, is coarse.
    trusted = total_weight(shape, windows) > (0.05 if mode == "exact" else 0)
    tolerance = 2e-2 if mode == "exact" else 1e-5
    assert trusted.any()
    assert np.allclose(logits[1][trusted], 3 * array[0][trusted], atol=tolerance)
    assert np.allclose(logits[0][trusted], 1, atol=tolerance)


def reference_sums(array, windows):
    """The sums of nnU-Net written out with NumPy's float16."""
    patch = windows.patch
    weights = gaussian_weights(patch)
    shape = array.shape[1:]
    sums = np.zeros((2, *shape), np.float16)
    norm = np.zeros(shape, np.float16)
    for start in windows.starts(shape):
        place = tuple(slice(k, k + n) for k, n in zip(start, patch, strict=True))
        window = array[(slice(None), *place)][None]
        prediction = position_net(window)[0] * weights.astype(np.float32)
        for c in range(2):
            sums[c][place] = (sums[c][place].astype(np.float32) + prediction[c]).astype(np.float16)
        norm[place] = (norm[place].astype(np.float32) + weights).astype(np.float16)
    return (sums.astype(np.float32) / norm.astype(np.float32)).astype(np.float16)


def test_exact_mode_rounds_every_sum_to_float16_in_window_order():
    array = case(12, 11, 17)
    windows = WindowPlan(patch=(8, 8, 8))
    found = ensemble_logits([position_net], array, windows, mode="exact")
    assert np.array_equal(found, reference_sums(array, windows))


def test_fast_mode_is_the_same_mean_in_float32():
    array = case(12, 11, 17)
    windows = WindowPlan(patch=(8, 8, 8))
    exact = ensemble_logits([position_net], array, windows, mode="exact").astype(np.float32)
    fast = ensemble_logits([position_net], array, windows, mode="fast")
    trusted = total_weight(array.shape[1:], windows) > 0.05
    assert np.abs(exact - fast)[:, trusted].max() < 0.02


def test_mirroring_averages_all_combinations_of_axes():
    array = case(4, 4, 4)
    windows = WindowPlan(patch=(4, 4, 4), mirror_axes=(0, 2))
    found = ensemble_logits([position_net], array, windows, mode="fast", mirror=True)
    expected = np.zeros_like(found)
    for axes in ((), (1,), (3,), (1, 3)):
        flipped = np.flip(array, axes).copy()
        once = position_net(flipped[None])[0]
        expected += np.flip(once, axes) / 4
    assert np.allclose(found, expected, atol=1e-5)


def test_members_are_averaged():
    array = case(8, 8, 8)
    windows = WindowPlan(patch=(8, 8, 8))
    twice = ensemble_logits([linear_net, lambda w: -linear_net(w)], array, windows, mode="fast")
    assert np.allclose(twice, 0, atol=1e-6)
    with pytest.raises(ValueError, match="at least one net"):
        ensemble_logits([], array, windows, mode="fast")


def test_padding_is_zero_and_split_evenly():
    seen = []

    def spy(window):
        seen.append(window.copy())
        return linear_net(window)

    ensemble_logits(
        [spy], np.ones((1, 1, 4, 4), np.float32), WindowPlan(patch=(4, 4, 4)), mode="fast"
    )
    # Three planes to add: one before, two after.
    assert seen[0][0, 0, :, 0, 0].tolist() == [0, 1, 0, 0]


def test_every_window_is_told_and_may_cancel():
    windows = WindowPlan(patch=(4, 4, 4))
    array = case(8, 4, 4)
    told = []
    ensemble_logits([linear_net], array, windows, mode="fast", on_window=lambda: told.append(1))
    assert len(told) == len(windows.starts((8, 4, 4))) == 3

    def cancel():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensemble_logits([linear_net], array, windows, mode="fast", on_window=cancel)


def test_sums_beyond_float16_are_an_error_in_exact_mode():
    def huge(window):
        return linear_net(window) * 1e5

    windows = WindowPlan(patch=(4, 4, 4))
    array = np.ones((1, 4, 4, 4), np.float32)
    with pytest.raises(RuntimeError, match="run this model in fast mode"):
        ensemble_logits([huge], array, windows, mode="exact")
    assert np.isfinite(ensemble_logits([huge], array, windows, mode="fast")).all()


def test_the_input_is_not_changed_and_may_be_read_only():
    array = case(6, 9, 5)
    before = array.copy()
    array.flags.writeable = False
    for mode, mirror in product(("exact", "fast"), (False, True)):
        windows = WindowPlan(patch=(4, 4, 4), mirror_axes=(1,))
        ensemble_logits([linear_net], array, windows, mode=mode, mirror=mirror)
    assert np.array_equal(array, before)


def blocks_of(array, size):
    return (array[:, z : z + size] for z in range(0, array.shape[1], size))


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_planes_come_in_order_however_the_input_is_cut(mode, size):
    array = case(21, 7, 11)
    windows = WindowPlan(patch=(8, 8, 8))
    nets = [position_net, linear_net]
    whole = ensemble_logits(nets, array, windows, mode=mode)
    planes = logit_planes(
        nets, PlaneBlocks((21, 7, 11), blocks_of(array, size)), windows, mode=mode
    )
    before = None
    for z, plane in enumerate(planes):
        assert plane.shape == (2, 7, 11)
        assert np.array_equal(plane, whole[:, z])
        # The plane before is still valid: linear interpolation reads two.
        assert before is None or np.array_equal(before, whole[:, z - 1])
        before = plane
    assert z == 20


def test_input_is_read_and_planes_are_handed_on_as_early_as_can_be():
    log = []

    def blocks():
        for z in range(16):
            log.append(f"read {z}")
            yield np.zeros((1, 1, 4, 4), np.float32)

    windows = WindowPlan(patch=(4, 4, 4))
    told = []
    case = PlaneBlocks((16, 4, 4), blocks())
    planes = logit_planes(
        [linear_net], case, windows, mode="fast", on_window=lambda: told.append(1)
    )
    for z, _ in enumerate(planes):
        # Windows start at 0, 2, ..., 12: plane z is final behind window z // 2.
        first = min(z // 2, 6)
        assert len(told) == first + 1
        assert log[-1] == f"read {2 * first + 3}"
    assert len(told) == 7


def test_memory_does_not_grow_with_the_scan():
    import tracemalloc

    windows = WindowPlan(patch=(8, 16, 16))
    peaks = []
    for planes in (20, 200):
        blocks = (np.zeros((1, 1, 40, 40), np.float32) for _ in range(planes))
        tracemalloc.start()
        for _ in logit_planes(
            [linear_net], PlaneBlocks((planes, 40, 40), blocks), windows, mode="exact"
        ):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 10 planes of 3 channels, 8 of input, two windows; the list of windows is all that grows.
    assert peaks[0] < 4 * 1600 * (10 * 3 + 8) + 8 * 8 * 16 * 16 * 4 * 2 + 30_000
    assert peaks[1] < peaks[0] + 100_000


def test_too_few_planes_are_named():
    windows = WindowPlan(patch=(4, 4, 4))
    few = [np.zeros((1, 5, 4, 4), np.float32)]
    with pytest.raises(ValueError, match="must hold 8 planes, got 5"):
        list(logit_planes([linear_net], PlaneBlocks((8, 4, 4), few), windows, mode="fast"))
    with pytest.raises(ValueError, match="at least one plane, got none"):
        list(logit_planes([linear_net], PlaneBlocks((8, 4, 4), []), windows, mode="fast"))


def test_half_precision_predictions_are_weighted_in_half_precision():
    """As nnU-Net does on a GPU: the product is rounded before it is added."""

    def half_net(window):
        return position_net(window).astype(np.float16)

    array = case(12, 8, 8)
    windows = WindowPlan(patch=(8, 8, 8))
    found = ensemble_logits([half_net], array, windows, mode="exact")
    weights = gaussian_weights(windows.patch)
    sums, norm = np.zeros((2, 12, 8, 8), np.float16), np.zeros((12, 8, 8), np.float16)
    for z in (0, 4):
        sums[:, z : z + 8] += half_net(array[None, :, z : z + 8])[0] * weights
        norm[z : z + 8] += weights
    assert np.array_equal(found, sums / norm)


def test_compact_sums_are_the_same_numbers():
    array = case(12, 11, 17)
    windows = WindowPlan(patch=(8, 8, 8))
    nets = [position_net, linear_net]
    plain = ensemble_logits(nets, array, windows, mode="exact")
    compact = ensemble_logits(nets, array, windows, mode="exact", compact=True)
    assert np.array_equal(plain, compact)
    # Fast mode's sums are no float16 numbers: nothing changes.
    fast = ensemble_logits(nets, array, windows, mode="fast")
    assert np.array_equal(fast, ensemble_logits(nets, array, windows, mode="fast", compact=True))

    def huge(window):
        return linear_net(window) * 1e5

    with pytest.raises(RuntimeError, match="run this model in fast mode"):
        ensemble_logits([huge], array, windows, mode="exact", compact=True)
