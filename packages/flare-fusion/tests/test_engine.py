"""The engine: the same labels whatever the layout, type or block size, and inputs left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flare_fusion import _arrays
from flare_fusion.engine import apply_table, fuse
from flare_fusion.rules import Origin, fusion_rule
from flare_fusion.tables import compile_table

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
FEW = settings(max_examples=40, deadline=None)


def label_maps(highest):
    return SHAPES.flatmap(
        lambda shape: st.tuples(
            *[hnp.arrays(np.uint8, shape, elements=st.integers(0, high)) for high in highest]
        )
    )


def random_case(shape=(5, 40, 30), seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 14, (2, *shape), dtype=np.uint8)
    partial = rng.integers(0, 15, shape, dtype=np.uint8)
    # Half the slices are background everywhere, the engine's short way.
    for array in (a, b, partial):
        array[shape[0] // 2 :] = 0
    return {"A": a, "B": b, "partial": partial}


def expected_labels(sources):
    table = compile_table(fusion_rule("s1-labeled"))
    return table.labels[sources["A"], sources["B"], sources["partial"]]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_block_size_changes_nothing(block):
    sources = random_case()
    table = compile_table(fusion_rule("s1-labeled"))
    result = apply_table(table, sources, block=block, provenance=True)
    assert (result.label_map == expected_labels(sources)).all()
    origins = table.origins[sources["A"], sources["B"], sources["partial"]]
    assert (result.provenance == origins).all()
    assert result.label_map.dtype == result.provenance.dtype == np.uint8


@pytest.mark.parametrize(
    "changed",
    [
        np.asfortranarray,
        lambda array: array[::-1].copy()[::-1],
        lambda array: np.repeat(array, 2, axis=2)[:, :, ::2],
        lambda array: array.transpose(1, 0, 2).copy().transpose(1, 0, 2),
    ],
    ids=["fortran", "flipped", "every-other", "transposed"],
)
def test_layout_changes_nothing(changed):
    sources = random_case()
    expected = expected_labels(sources)
    for name in sources:
        mixed = {**sources, name: changed(sources[name])}
        assert (fuse(mixed, rule="s1-labeled").label_map == expected).all()
    every = {name: changed(array) for name, array in sources.items()}
    assert (fuse(every, rule="s1-labeled").label_map == expected).all()


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int16", "int64", "uint64", ">i2"])
def test_integer_type_changes_nothing(dtype):
    sources = random_case()
    expected = expected_labels(sources)
    typed = {name: array.astype(dtype) for name, array in sources.items()}
    result = fuse(typed, rule="s1-labeled").label_map
    assert (result == expected).all()
    assert result.dtype == np.uint8


def test_memory_order_of_the_sources_is_kept():
    sources = {name: np.asfortranarray(array) for name, array in random_case().items()}
    assert fuse(sources, rule="s1-labeled").label_map.flags.f_contiguous


def test_read_only_sources_are_accepted_and_never_changed():
    sources = random_case()
    before = {name: array.copy() for name, array in sources.items()}
    for array in sources.values():
        array.flags.writeable = False
    fuse(sources, rule="s1-labeled", provenance=True)
    assert all((sources[name] == before[name]).all() for name in sources)


@FEW
@given(label_maps((13, 13, 14)))
def test_s1_is_symmetric_in_a_and_b(arrays):
    a, b, partial = arrays
    one = fuse({"A": a, "B": b, "partial": partial}, rule="s1-labeled").label_map
    other = fuse({"A": b, "B": a, "partial": partial}, rule="s1-labeled").label_map
    assert (one == other).all()


@FEW
@given(label_maps((13, 14)))
def test_equal_pseudo_labels_come_back_under_the_tumor(arrays):
    a, partial = arrays
    fused = fuse({"A": a, "B": a, "partial": partial}, rule="s1-labeled").label_map
    assert (fused == np.where(partial == 14, 14, a)).all()


@FEW
@given(label_maps((13, 13, 14, 14, 14)))
def test_no_class_appears_from_nowhere(arrays):
    a, b, t1, t2, t3 = arrays
    for tie in ("background", "A", "B"):
        names = ("A", "B", "T1", "T2", "T3")
        fused = fuse(dict(zip(names, arrays, strict=True)), rule="s1-unlabeled", tie=tie).label_map
        votes = (t1 == 14).astype(int) + (t2 == 14) + (t3 == 14)
        assert ((fused == 0) | (fused == a) | (fused == b) | (fused == 14)).all()
        assert ((fused == 14) == (votes >= 2)).all()


def test_an_organ_that_was_looked_for_and_not_found_is_erased():
    # The gallbladder (9) is gone: K holds it, the file does not, and a guess from the file fails.
    partial = np.array([[[1, 0, 0]]], np.uint8)
    pseudo = np.array([[[1, 9, 4]]], np.uint8)
    sources = {"partial": partial, "pseudo": pseudo}
    known = fuse(sources, rule="s2-replace", annotated={1, 9}).label_map
    guessed = fuse(sources, rule="s2-replace", annotated=set(np.unique(partial))).label_map
    assert known.tolist() == [[[1, 0, 4]]]
    assert guessed.tolist() == [[[1, 9, 4]]]


def test_majority_of_named_sources():
    maps = {name: np.array([[[label, 3]]]) for name, label in zip("XYZ", (1, 2, 2), strict=True)}
    assert fuse(maps, rule="majority").label_map.tolist() == [[[2, 3]]]
    with pytest.raises(ValueError, match="labels 0, 5, found 1"):
        fuse(maps, rule="majority", labels=[0, 5])


def test_empty_arrays_stay_empty():
    sources = {name: np.zeros((0, 4, 4), np.uint8) for name in ("A", "B", "partial")}
    assert fuse(sources, rule="s1-labeled").label_map.shape == (0, 4, 4)


def test_provenance_is_given_on_request_only():
    sources = random_case()
    assert fuse(sources, rule="s1-labeled").provenance is None
    asked = fuse(sources, rule="s1-labeled", provenance=True).provenance
    tumor = sources["partial"] == 14
    assert ((asked == Origin.TUMOR) == tumor).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"partial": None}, ValueError, "needs the sources A, B, partial, got A, B"),
        ({"C": np.zeros((1, 2, 2), int)}, ValueError, "got A, B, partial, C"),
        (
            {"B": np.zeros((1, 2, 3), int)},
            ValueError,
            r"one shape, got \(1, 2, 2\) for A and \(1, 2, 3\) for B",
        ),
        ({"B": np.zeros((1, 2, 2))}, TypeError, "source B must be an integer array, got float64"),
        ({"B": [[[0, 0], [0, 0]]]}, TypeError, "source B must be an integer array, got list"),
        (
            {"A": np.full((1, 2, 2), 14)},
            ValueError,
            "source A must hold only the labels 0 to 13, found 14",
        ),
        ({"partial": np.full((1, 2, 2), -1)}, ValueError, "partial must hold only .* found -1"),
        ({"partial": np.full((1, 2, 2), 300)}, ValueError, "found 300"),
    ],
    ids=["missing", "extra", "shape", "float", "list", "tumor-in-A", "negative", "large"],
)
def test_wrong_sources_are_named(change, error, message):
    sources = {name: np.zeros((1, 2, 2), int) for name in ("A", "B", "partial")}
    sources = {name: array for name, array in {**sources, **change}.items() if array is not None}
    with pytest.raises(error, match=message):
        fuse(sources, rule="s1-labeled")


def test_an_unknown_rule_or_option_is_named():
    with pytest.raises(ValueError, match=r"rule must be s1-labeled, .* got 's9'"):
        fuse({}, rule="s9")
    with pytest.raises(ValueError, match="no option 'ties'"):
        fuse({}, rule="s1-labeled", ties="A")


def test_host_and_device_arrays_do_not_mix():
    device = type("ndarray", (), {"__module__": "cupy._core.core"})()
    with pytest.raises(TypeError, match="all be NumPy or all be CuPy"):
        _arrays.array_module(np.zeros(1), device)


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.1, 1.0]))
@FEW
def test_words_of_background_are_passed_over_and_nothing_else(seed, share):
    rng = np.random.default_rng(seed)
    sources = random_case((3, 8, 8), seed)
    kept = np.repeat(rng.random((3, 8, 1)) < share, 8, axis=2)
    sources = {name: array * kept for name, array in sources.items()}
    table = compile_table(fusion_rule("s1-labeled"))
    result = apply_table(table, sources, block=64, provenance=True, agreement=True)
    assert (result.label_map == expected_labels(sources)).all()
    origins = table.origins[sources["A"], sources["B"], sources["partial"]]
    assert (result.provenance == origins).all()
    assert result.agreement.voxels.sum() == kept.size


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_combinations_are_counted_in_the_same_pass(dtype):
    sources = {name: array.astype(dtype) for name, array in random_case((4, 16, 8)).items()}
    found = fuse(sources, rule="s1-labeled", agreement=True).agreement
    assert found.sources == ("A", "B", "partial")
    rows, counts = np.unique(
        np.stack([array.ravel() for array in sources.values()]), axis=1, return_counts=True
    )
    order = np.lexsort(found.labels.T[::-1])
    assert (found.labels[order] == rows.T).all() and (found.voxels[order] == counts).all()


def test_labels_that_do_not_matter_to_the_rule_are_counted_as_background():
    voxel = {name: np.full((1, 1, 1), 3, np.uint8) for name in ("A", "B", "T1", "T2", "T3")}
    found = fuse(voxel, rule="s1-unlabeled", agreement=True).agreement
    assert found.labels.tolist() == [[3, 3, 3, 0, 0]] and found.voxels.tolist() == [1]
    assert fuse(voxel, rule="s1-unlabeled").agreement is None
