import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom

from flare_infer import mixed_cells
from flare_infer.heads import Head
from flare_infer.upsample import label_slabs, upsampled_labels
from flare_io.resample import axis_operator

SOFTMAX = Head(labels=(0, 1, 3, 14), rivals=(0, 1, 2, 3))
THRESHOLD = Head(labels=(1, 3, 14, 300), rivals=(0, 1, 2, 3), zero=True)
HYBRID = Head(labels=(0, 1, 3, 14), rivals=(0, 1, 2), painters=(3,))
MIDDLE = Head(labels=(0, 1, 3, 14), rivals=(0, 1, 3), painters=(2,))
REGIONS = Head(labels=(14, 1, 3, 1), rivals=(), painters=(0, 1, 2, 3), by_sigmoid=True)
SIGMOIDS = Head(labels=(14, 1, 3, 2), rivals=(), painters=(2, 0, 1, 3))
HEADS = (SOFTMAX, THRESHOLD, HYBRID, MIDDLE, REGIONS, SIGMOIDS)
SIZES = st.tuples(*[st.integers(1, 7)] * 3)
LARGER = st.tuples(*[st.integers(1, 15)] * 3)


def interpolated(logits, shape, *, nearest_axis=None):
    """Each channel at full size in float64, by SciPy: the formula without any shortcut."""
    result = logits.astype(np.float64)
    for axis, new in enumerate(shape, start=1):
        factors = [1.0] * 4
        factors[axis] = new / result.shape[axis]
        order = 0 if axis - 1 == nearest_axis else 1
        result = zoom(result, factors, order=order, mode="nearest", grid_mode=True)
    return result


def drawn(seed, shape, style, dtype):
    """Logits of four channels in which ties, near ties, zeros or smooth regions are common."""
    rng = np.random.default_rng(seed)
    if style == "integers":
        return rng.integers(-2, 3, (4, *shape)).astype(dtype)
    if style == "near ties":
        base = rng.normal(size=(1, *shape)).astype(dtype)
        spacing = np.spacing(np.abs(base))
        return (base + spacing * rng.integers(-6, 7, (4, *shape))).astype(dtype)
    if style == "tiny":
        return (rng.integers(-3, 4, (4, *shape)) * 2.0**-24).astype(dtype)
    offset = rng.normal(size=(4, 1, 1, 1)) * 2
    return (offset + rng.normal(size=(4, *shape))).astype(dtype)


def operators_for(small, large, nearest_axis=None):
    return tuple(
        axis_operator(a, b, 0 if axis == nearest_axis else 1)
        for axis, (a, b) in enumerate(zip(small, large, strict=True))
    )


def assert_equal_but_for_halves(found, whole, head):
    """Labels are those of float64 numbers rounded to float16, but for what addition may change.

    Only where two ways to add the same products fall on two sides of a middle between float16
    numbers, which is documented, they may differ: there 1e-13 more or less of one channel, and the
    opposite of the others, changes the decision.
    """
    expected = head.decide(whole.astype(np.float16))
    differs = found != expected
    if differs.any():
        unsure = np.zeros(differs.shape, dtype=bool)
        for channel in range(len(whole)):
            for error in (1e-13 * np.abs(whole), -1e-13 * np.abs(whole)):
                near = whole - error
                near[channel] += 2 * error[channel]
                unsure |= head.decide(near.astype(np.float16)) != expected
        assert unsure[differs].all()
        # Some of a handful of voxels may be such; of many, few are.
        assert differs.sum() <= 4 + 0.01 * differs.size


def assert_equal_but_for_near_ties(found, whole, head, largest):
    """Labels are those of float64 numbers wherever float32's error cannot change the decision.

    There a winner leads the others, and a painter 0, by more than that.
    """
    differs = found != head.decide(whole)
    scale = largest * 1e-5 + 1e-6
    competing = [whole[k] for k in head.rivals] + ([whole[0] * 0] if head.zero else [])
    close = np.zeros(found.shape, bool)
    if competing:
        ordered = np.sort(competing, axis=0)
        if len(competing) > 1:
            close |= ordered[-1] - ordered[-2] < scale
    for channel in head.painters:
        close |= np.abs(whole[channel]) < scale
    assert close[differs].all()


@pytest.mark.parametrize("head", HEADS)
@given(
    seed=st.integers(0, 10**6),
    small=SIZES,
    large=LARGER,
    style=st.sampled_from(["integers", "near ties", "tiny", "smooth"]),
    nearest_axis=st.sampled_from([None, None, 0, 1, 2]),
)
@example(seed=100001, small=(7, 3, 6), large=(7, 8, 10), style="near ties", nearest_axis=None)
@settings(max_examples=40, deadline=None)
def test_exact_mode_equals_the_formula_rounded_to_float16(
    head, seed, small, large, style, nearest_axis
):
    logits = drawn(seed, small, style, np.float16)
    operators = operators_for(small, large, nearest_axis)
    found = upsampled_labels(logits, operators, head, half=True)
    # The same float16 numbers held in float32 are the same logits.
    wide = upsampled_labels(logits.astype(np.float32), operators, head, half=True)
    assert np.array_equal(wide, found)
    whole = interpolated(logits, large, nearest_axis=nearest_axis)
    assert_equal_but_for_halves(found, whole, head)
    assert found.dtype == head.dtype


@pytest.mark.parametrize("head", HEADS)
@given(
    seed=st.integers(0, 10**6),
    small=SIZES,
    large=LARGER,
    style=st.sampled_from(["integers", "near ties", "smooth"]),
)
@settings(max_examples=25, deadline=None)
def test_fast_mode_differs_only_where_float32_decides(head, seed, small, large, style):
    logits = drawn(seed, small, style, np.float32)
    found = upsampled_labels(logits, operators_for(small, large), head, half=False)
    whole = interpolated(logits, large)
    assert_equal_but_for_near_ties(found, whole, head, np.abs(logits).max())


def test_cells_that_agree_are_never_computed(monkeypatch):
    logits = np.zeros((4, 6, 7, 8), np.float16)
    logits[2] = 1
    monkeypatch.setattr(mixed_cells, "_blend", None)
    found = upsampled_labels(logits, operators_for((6, 7, 8), (13, 20, 9)), SOFTMAX, half=True)
    assert (found == 3).all()
    hybrid = upsampled_labels(logits, operators_for((6, 7, 8), (13, 20, 9)), MIDDLE, half=True)
    assert (hybrid == 3).all()


def test_a_class_that_wins_at_no_corner_may_win_between():
    logits = np.zeros((4, 1, 1, 2), np.float16)
    logits[1, 0, 0] = [10, 0]
    logits[2, 0, 0] = [9, 9]
    logits[3, 0, 0] = [0, 10]
    operators = operators_for((1, 1, 2), (1, 1, 8))
    for half, kind in ((True, np.float16), (False, np.float32)):
        found = upsampled_labels(logits.astype(kind), operators, SOFTMAX, half=half)
        assert found.ravel().tolist() == [1, 1, 3, 3, 3, 3, 14, 14]


def test_different_at_the_corners_may_be_equal_between_by_rounding():
    # Label 3 leads label 1 by one step of float16 at both corners; in the middle both round to 1,
    # and the first of equal logits is that of label 1.
    step = 2.0**-10
    logits = np.full((4, 1, 1, 2), -9, np.float16)
    logits[1, 0, 0] = [1 - step / 2, 1]
    logits[2, 0, 0] = [1, 1 + step]
    found = upsampled_labels(logits, operators_for((1, 1, 2), (1, 1, 5)), SOFTMAX, half=True)
    middle = (logits[1:3, 0, 0, 0].astype(float) + logits[1:3, 0, 0, 1]) / 2
    assert np.float16(middle[0]) == np.float16(middle[1]) == 1
    assert found.ravel().tolist() == [3, 3, 1, 3, 3]


def test_many_classes_and_wide_labels():
    rng = np.random.default_rng(0)
    labels = (0, *range(200, 499))
    head = Head(labels=labels, rivals=tuple(range(300)))
    logits = rng.normal(size=(300, 2, 4, 4)).astype(np.float16)
    found = upsampled_labels(logits, operators_for((2, 4, 4), (3, 9, 7)), head, half=True)
    expected = head.decide(interpolated(logits, (3, 9, 7)).astype(np.float16))
    assert found.dtype == np.uint16
    assert np.array_equal(found, expected)


ORGANS = tuple(range(1, 15))
FULL_HEADS = (
    Head(labels=(0, *ORGANS), rivals=tuple(range(15))),
    Head(labels=(0, *ORGANS), rivals=tuple(range(14)), painters=(14,)),
    Head(labels=(*ORGANS, 1), rivals=(), painters=tuple(range(15)), by_sigmoid=True),
)


def blended(logits, shape):
    """Each channel at full size in float64: the two nearest of the row, by their distances."""
    result = logits.astype(np.float64)
    for axis, new in enumerate(shape, start=1):
        old = result.shape[axis]
        place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        low = np.floor(place).astype(int)
        share = (place - low).reshape(-1, *[1] * (3 - axis))
        high = np.minimum(low + 1, old - 1)
        result = (1 - share) * result.take(low, axis) + share * result.take(high, axis)
    return result


def organs(seed, shape):
    """Logits of 15 channels: regions of many voxels, each with its winner, and rough borders."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(15, *(-(-side // 8) for side in shape))) * 4
    blocks = coarse.repeat(8, 1).repeat(8, 2).repeat(8, 3)
    z, y, x = shape
    return blocks[:, :z, :y, :x] + rng.normal(size=(15, *shape))


@pytest.mark.parametrize("half", [True, False], ids=["exact", "fast"])
@given(
    seed=st.integers(0, 10**6),
    small=st.tuples(st.integers(1, 3), st.integers(2, 24), st.integers(100, 400)),
    large=st.tuples(st.integers(1, 4), st.integers(2, 32), st.integers(300, 512)),
    head=st.sampled_from(FULL_HEADS),
)
@settings(max_examples=30, deadline=None)
def test_full_rows_of_fifteen_classes_equal_the_formula(half, seed, small, large, head):
    logits = organs(seed, small).astype(np.float16 if half else np.float32)
    found = upsampled_labels(logits, operators_for(small, large), head, half=half)
    whole = blended(logits, large)
    assert found.shape == large
    if half:
        assert_equal_but_for_halves(found, whole, head)
    else:
        assert_equal_but_for_near_ties(found, whole, head, np.abs(logits).max())


def test_the_two_oracles_agree():
    logits = np.random.default_rng(7).normal(size=(4, 3, 7, 50))
    for shape in ((5, 9, 111), (2, 7, 31)):
        assert np.allclose(blended(logits, shape), interpolated(logits, shape), atol=1e-12)


def test_a_view_into_padded_logits_is_taken_as_it_is():
    padded = np.random.default_rng(1).normal(size=(4, 6, 9, 9)).astype(np.float16)
    inside = padded[:, 1:5, 2:8, 1:8]
    operators = operators_for((4, 6, 7), (9, 10, 12))
    for head in HEADS:
        found = upsampled_labels(inside, operators, head, half=True)
        assert np.array_equal(found, upsampled_labels(inside.copy(), operators, head, half=True))


def test_small_blocks_change_nothing(monkeypatch):
    logits = np.random.default_rng(2).normal(size=(4, 4, 6, 7)).astype(np.float16)
    operators = operators_for((4, 6, 7), (9, 10, 12))
    whole = upsampled_labels(logits, operators, HYBRID, half=True)
    monkeypatch.setattr(mixed_cells, "_CELLS_AT_ONCE", 5)
    assert np.array_equal(upsampled_labels(logits, operators, HYBRID, half=True), whole)


def test_slabs_ask_for_planes_when_they_need_them():
    logits = np.random.default_rng(3).normal(size=(6, 4, 5, 5)).astype(np.float16)
    asked = []

    def planes():
        for number, plane in enumerate(logits):
            asked.append(number)
            yield plane

    operators = operators_for((6, 5, 5), (12, 8, 8))
    seen = []
    for slab in label_slabs(planes(), operators, SOFTMAX, half=True):
        seen.append(slab)
        made = sum(map(len, seen))
        assert max(asked) == operators[0].start[made - 1] + 1
    whole = upsampled_labels(np.moveaxis(logits, 0, 1), operators, SOFTMAX, half=True)
    assert np.array_equal(np.concatenate(seen), whole)


def test_planes_that_nothing_reads_are_passed_over_and_the_source_exhausted():
    logits = np.random.default_rng(4).normal(size=(9, 4, 5, 5)).astype(np.float32)
    source = iter(logits)
    operators = (axis_operator(9, 2, 0), axis_operator(5, 3, 1), axis_operator(5, 6, 1))
    found = np.concatenate(list(label_slabs(source, operators, SOFTMAX, half=False)))
    assert next(source, None) is None
    for k, z in enumerate(operators[0].start):
        plane = interpolated(logits[z][:, None], (1, 3, 6))
        assert np.array_equal(found[k], SOFTMAX.decide(plane)[0])
