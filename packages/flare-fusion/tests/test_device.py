"""Arrays of a device: the same labels, origins and counts, and no way to main memory unasked."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_fusion import compile_table, fuse, fusion_rule, majority_table
from flare_fusion.conflict import agreement_record
from flare_fusion.device_kernel import fusion_kernel
from flare_fusion.engine import apply_table
from flare_fusion.general import compile_general

from .device_arrays import COMPILER, ndarray, same, stand_in
from .test_invariance import LAYOUTS, RULES, compiled, drawn

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, cc, gcc or clang")


@pytest.fixture(scope="module")
def device():
    module = stand_in()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", module)
        yield module


def test_the_stand_in_refuses_to_mix_with_main_memory(device):
    array = device.zeros((2, 3, 4), np.uint8)
    with pytest.raises(TypeError, match="implicit"):
        np.asarray(array)
    with pytest.raises(TypeError, match="Unsupported"):
        array + np.ones((2, 3, 4))
    with pytest.raises(TypeError, match="all be NumPy or all be CuPy"):
        fuse({"A": array, "B": np.zeros((2, 3, 4), np.uint8)}, rule="majority")


@needs_compiler
@pytest.mark.parametrize(("name", "names"), RULES, ids=str)
@pytest.mark.parametrize("asked", [(False, False), (True, False), (False, True), (True, True)])
def test_every_rule_gives_the_same_on_a_device(device, name, names, asked):
    rule = compiled(name, names)
    wanted = dict(zip(("provenance", "agreement"), asked, strict=True))
    for kind in (np.uint8, np.int16):
        maps = {key: array.astype(kind) for key, array in drawn(rule, (3, 5, 8), 3).items()}
        there = apply_table(rule, {k: device.asarray(v) for k, v in maps.items()}, **wanted)
        assert isinstance(there.label_map, ndarray)
        same(apply_table(rule, maps, **wanted), there, device.asnumpy)


@needs_compiler
@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(0, 4), st.sampled_from([1, 4, 8])),
    st.lists(st.sampled_from(["?", "u1", "i1", "u2", "i2", "u4", "i8", "u8"]), min_size=3),
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 1000),
)
def test_type_layout_and_size_change_nothing(device, shape, kinds, layout, seed):
    rule = majority_table("ABC", labels=range(2), tie=7)
    maps = {
        key: LAYOUTS[layout](array.astype(kind))
        for (key, array), kind in zip(drawn(rule, shape, seed).items(), kinds, strict=False)
    }
    there = apply_table(
        rule, {k: ndarray(v) for k, v in maps.items()}, provenance=True, agreement=True
    )
    same(apply_table(rule, maps, provenance=True, agreement=True), there, device.asnumpy)


def packed(rule, arrays, monkeypatch):
    """Return whether eight voxels were taken at a time."""
    seen = []
    monkeypatch.setattr(
        "flare_fusion.device_pass.fusion_kernel",
        lambda *args, **asked: seen.append(asked["packed"]) or fusion_kernel(*args, **asked),
    )
    apply_table(rule, dict(zip("ABC", arrays, strict=True)))
    return seen[0]


@needs_compiler
def test_eight_voxels_at_a_time_where_bytes_lie_without_gaps(device, monkeypatch):
    rule = majority_table("ABC", labels=range(4))
    whole = np.ones((2, 4, 8), np.uint8)
    assert packed(rule, [ndarray(whole)] * 3, monkeypatch)
    assert packed(rule, [ndarray(np.asfortranarray(whole))] * 3, monkeypatch)
    mixed = [ndarray(whole), ndarray(np.asfortranarray(whole)), ndarray(whole)]
    shifted = np.ones(65, np.uint8)[1:].reshape(2, 4, 8)
    for others in (mixed, [ndarray(shifted)] * 3, [ndarray(whole[:, :, :7])] * 3):
        assert not packed(rule, others, monkeypatch)
    for kind in (np.int8, np.uint16):
        assert not packed(rule, [ndarray(whole.astype(kind))] * 3, monkeypatch)
    wide = majority_table("ABC", labels=(1, 300))
    assert not packed(wide, [ndarray(whole)] * 3, monkeypatch)


@needs_compiler
def test_memory_order_of_the_sources_is_kept(device):
    maps = {k: ndarray(np.asfortranarray(np.ones((2, 3, 8), np.uint8))) for k in "AB"}
    assert fuse(maps, rule="union").label_map.host.flags.f_contiguous
    assert (fuse(maps, rule="union").label_map.host == 1).all()


@needs_compiler
@pytest.mark.parametrize(
    ("name", "source", "value", "kind"),
    [
        ("s1-labeled", "A", 14, np.uint8),
        ("s1-labeled", "partial", -1, np.int8),
        ("s1-labeled", "B", 300, np.uint16),
        ("s1-unlabeled", "T2", 15, np.uint8),
        ("s1-unlabeled", "T3", -3, np.int64),
    ],
    ids=str,
)
def test_a_label_outside_of_a_source_is_named(device, name, source, value, kind):
    rule = compile_table(fusion_rule(name))
    maps = {key: array.astype(kind) for key, array in drawn(rule, (2, 3, 8), 1).items()}
    maps[source][1, 2, 3] = value
    with pytest.raises(ValueError, match=f"source {source} must hold only .* found {value}$"):
        apply_table(rule, {key: ndarray(array) for key, array in maps.items()})


@needs_compiler
def test_labels_between_known_ones_are_named(device):
    maps = {key: ndarray(np.array([[[0, 5, 3]]], np.uint8)) for key in "AB"}
    with pytest.raises(ValueError, match="labels 0, 5, 9, found 3"):
        fuse(maps, rule="majority", labels=[5, 9])


@needs_compiler
def test_agreement_of_a_case_is_the_same(device):
    maps = drawn(compile_table(fusion_rule("s1-labeled")), (4, 8, 8), 5)
    looked_for = {"A": range(1, 14), "B": range(1, 14), "partial": (1, 2, 14)}
    here, there = (
        fuse(each, rule="s1-labeled", agreement=True).agreement
        for each in (maps, {key: device.asarray(array) for key, array in maps.items()})
    )
    records = [
        agreement_record(each, looked_for=looked_for, voxel_volume_mm3=2.0)
        for each in (here, there)
    ]
    assert records[0] == records[1]


def test_staple_says_that_it_runs_on_the_host(device):
    maps = {key: device.zeros((1, 2, 2), np.uint8) for key in "AB"}
    with pytest.raises(TypeError, match=r"rule staple runs on the host; hand in cupy.asnumpy"):
        fuse(maps, rule="staple")


@needs_compiler
def test_nothing_is_done_twice(device):
    rule = compile_general("majority", "AB", {"labels": "0-9"})
    one, other = (fusion_kernel(rule, ("uint8", "uint8"), packed=True) for _ in range(2))
    assert one is other
    counted = fusion_kernel(rule, ("uint8", "uint8"), agreement=True)
    assert "atomicAdd" in counted.body and "atomicAdd" not in one.body
