"""Deciding on a device: plain torch, and the kernel in Triton's interpreter."""

import importlib.util
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.device import decide_torch
from flare_infer.device.decide_torch import decide_planes
from flare_infer.device.grids import PlacedLogits, axis_tables
from flare_infer.device.ring import DeviceRing
from flare_infer.heads import Head
from flare_infer.upsample import upsampled_labels
from flare_io.crop import Box

from .device_cases import CPU
from .test_upsample import (
    HEADS,
    REGIONS,
    SOFTMAX,
    assert_equal_but_for_near_ties,
    drawn,
    interpolated,
    operators_for,
)

HIGH = Head(labels=(0, 40000, 65535, 3), rivals=(0, 1, 2, 3))
SIZES = st.tuples(*[st.integers(1, 7)] * 3)
LARGER = st.tuples(*[st.integers(1, 13)] * 3)


@pytest.fixture(scope="module")
def interpreted():
    """The kernel's module as it is where Triton interprets kernels."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs Triton")
    found = importlib.util.find_spec("flare_infer.device.decide_triton")
    spec = importlib.util.spec_from_file_location("interpreted_decide_triton", found.origin)
    module = importlib.util.module_from_spec(spec)
    patch = pytest.MonkeyPatch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Looked at where kernels are declared.
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module
    patch.undo()


def placed(logits, box, *, ahead=(0, 0, 0), depth=None, end=None, device=CPU):
    """Whole logits (channels, z, y, x) as their part in a box, in a ring over the padded box."""
    shape = [n + 2 * k for n, k in zip(box.shape, ahead, strict=True)]
    ring = DeviceRing(depth or shape[0], (len(logits), *shape[1:]), torch.float32, device)
    ring.extend(end or shape[0])
    # What lies outside must not be read.
    ring.values[:] = 1e30
    part = torch.from_numpy(logits[:, *box.slices].astype(np.float32)).to(device)
    rows, columns = (slice(k, k + n) for k, n in zip(ahead[1:], box.shape[1:], strict=True))
    for z in range(box.shape[0]):
        if ring.end - ring.depth <= z + ahead[0] < ring.end:
            ring.values[:, (z + ahead[0]) % ring.depth, rows, columns] = part[:, z]
    return PlacedLogits(ring, box, ahead)


def inside_of(logits, box):
    """The logits with 0 outside the box."""
    cut = np.zeros_like(logits)
    cut[:, *box.slices] = logits[:, *box.slices]
    return cut


def decided(how, logits, operators, head, planes):
    """The labels of some planes, by plain torch or by the kernel of a module."""
    device = logits.ring.values.device
    kind = torch.uint8 if head.dtype == np.uint8 else torch.int16
    shape = (planes.stop - planes.start, operators[1].n_out, operators[2].n_out)
    # 77 is nobody's label.
    labels = torch.full(shape, 77, dtype=kind, device=device)
    tables = axis_tables(operators, device)
    if how is None:
        decide_planes(logits, tables, head, planes.start, labels)
    else:
        how.KernelDecider(logits, tables, head)(planes.start, labels)
    return labels.cpu().numpy().view(head.dtype)


def drawn_box(rng, shape):
    corners = [np.sort(rng.choice(n + 1, 2, replace=False)) for n in shape]
    return Box(tuple(int(a) for a, _ in corners), tuple(int(b) for _, b in corners))


def assert_decides(how, seed, small, large, style, head, nearest_axis=None):
    rng = np.random.default_rng(seed)
    logits, box = drawn(seed, small, style, np.float32), drawn_box(rng, small)
    operators = operators_for(small, large, nearest_axis)
    ahead = tuple(int(k) for k in rng.integers(0, 3, 3))
    first = int(rng.integers(large[0]))
    last = int(rng.integers(first, large[0])) + 1
    found = decided(how, placed(logits, box, ahead=ahead), operators, head, slice(first, last))
    cut = inside_of(logits, box)
    whole = interpolated(cut, large, nearest_axis=nearest_axis)[:, first:last]
    assert_equal_but_for_near_ties(found, whole, head, np.abs(cut).max())
    host = upsampled_labels(cut, operators, head, half=False)[first:last]
    assert_equal_but_for_near_ties(host, whole, head, np.abs(cut).max())
    if style == "smooth":
        assert np.array_equal(found, host)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    small=SIZES,
    large=LARGER,
    style=st.sampled_from(["integers", "near ties", "smooth"]),
    head=st.sampled_from((*HEADS, HIGH)),
    nearest_axis=st.sampled_from([None, 0, 1, 2]),
)
def test_torch_decides_as_the_formula(seed, small, large, style, head, nearest_axis):
    assert_decides(None, seed, small, large, style, head, nearest_axis)


@pytest.mark.parametrize("head", (*HEADS, HIGH))
@pytest.mark.parametrize("seed", range(2))
def test_the_kernel_decides_as_the_formula(interpreted, head, seed):
    rng = np.random.default_rng((seed, len(head.painters)))
    small, large = (tuple(int(n) for n in rng.integers(1, top, 3)) for top in (6, 9))
    for style, nearest_axis in (("smooth", None), ("integers", 0), ("near ties", 2)):
        assert_decides(interpreted, seed, small, large, style, head, nearest_axis)


def test_a_plane_of_more_voxels_than_a_block_is_decided_whole(interpreted):
    assert_decides(interpreted, 5, (3, 9, 8), (2, 33, 19), "smooth", SOFTMAX)


def test_the_kernel_compiles_without_a_gpu_at_hand():
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from flare_infer.device import decide_triton

    fixed = {
        "rivals": 3, "painters": 1, "zero": True, "least": 0.0,
        "z_taps": 1, "y_taps": 2, "x_taps": 2, "block": 256,
    }  # fmt: skip
    pointers = {"logits": "*fp32", "starts": "*i32", "weights": "*fp32", "channels": "*i32"}
    for labels in ("*u8", "*i16"):
        kinds = {**pointers, "places": "*i64", "labels": labels, "first": "i32"}
        kinds |= dict.fromkeys(fixed, "constexpr")
        values = {(list(kinds).index(name),): value for name, value in fixed.items()}
        source = ASTSource(fn=decide_triton._kernel, signature=kinds, constexprs=values)
        target = GPUTarget("cuda", 80, 32)
        compiled = triton.compile(source, target=target, options=decide_triton.OPTIONS)
        assert "ld.global" in compiled.asm["ptx"]


@pytest.mark.parametrize("kernel", [False, True])
def test_planes_are_found_where_the_ring_has_turned(kernel, request):
    how = request.getfixturevalue("interpreted") if kernel else None
    logits = drawn(0, (12, 5, 6), "smooth", np.float32)
    operators, box = operators_for((12, 5, 6), (19, 8, 9)), Box((1, 0, 0), (12, 5, 6))
    # Of planes 1 to 12 the ring holds the last four of eleven in the padded box.
    held = placed(logits, box, ahead=(2, 0, 0), depth=4, end=12)
    planes = [k for k in range(19) if 7 <= operators[0].start[k] <= 9]
    part = slice(planes[0], planes[-1] + 1)
    expected = upsampled_labels(inside_of(logits, box), operators, SOFTMAX, half=False)[part]
    assert np.array_equal(decided(how, held, operators, SOFTMAX, part), expected)


@pytest.mark.parametrize("kernel", [False, True])
def test_the_least_logit_that_paints_is_that_of_the_host(kernel, request):
    how = request.getfixturevalue("interpreted") if kernel else None
    least = np.float32(1.5 * 2.0**-24)
    values = np.array([0, least, np.nextafter(least, np.float32(1)), 1], np.float32)
    logits = np.zeros((4, 1, 1, 4), np.float32)
    logits[1] = values
    operators, box = operators_for((1, 1, 4), (1, 1, 4)), Box.whole((1, 1, 4))
    found = decided(how, placed(logits, box), operators, REGIONS, slice(0, 1))
    # The second painter writes label 1 where its sigmoid exceeds 1/2.
    assert found.ravel().tolist() == [0, 0, 1, 1]


def test_more_planes_than_are_decided_at_once(monkeypatch):
    logits = drawn(3, (5, 4, 4), "smooth", np.float32)
    operators, box = operators_for((5, 4, 4), (20, 4, 4)), Box.whole((5, 4, 4))
    whole = decided(None, placed(logits, box), operators, SOFTMAX, slice(0, 20))
    monkeypatch.setattr(decide_torch, "_PLANES_AT_ONCE", 3)
    parts = decided(None, placed(logits, box), operators, SOFTMAX, slice(0, 20))
    assert np.array_equal(whole, parts)
