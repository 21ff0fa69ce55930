"""Every rule: layout, integer type and block size of the sources change nothing, nor do they."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_fusion import compile_table, fuse, fusion_rule
from flare_fusion.engine import apply_table
from flare_fusion.general import GENERAL_RULES, compile_general
from flare_fusion.rules import rule_names

GENERAL = [(name, "ABCD") for name in GENERAL_RULES if name != "staple"]
# Six sources have no table.
WITHOUT_TABLE = [("majority", "ABCDEF"), ("weighted", "ABCDEF"), ("union", "ABCDEF")]
RULES = [*((name, None) for name in rule_names()), *GENERAL, *WITHOUT_TABLE]
TYPES = ["u1", "i1", "<u2", ">u2", "<i2", ">i2", "<u4", "<i4", "<u8", "<i8"]
LAYOUTS = {
    "as it is": lambda array: array,
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "fortran": np.asfortranarray,
    "upside down": lambda array: array[::-1].copy()[::-1],
    "every other": lambda array: np.repeat(array, 2, axis=2)[:, :, ::2],
    "other axis order": lambda array: array.transpose(1, 2, 0).copy().transpose(2, 0, 1),
    "cut out": lambda array: np.pad(array, 1)[1:-1, 1:-1, 1:-1],
}


def compiled(name, sources):
    if sources is None:
        return compile_table(fusion_rule(name), annotated={1, 2, 9, 14})
    weights = {each: number + 1 for number, each in enumerate(sources)}
    return compile_general(name, sources, {"weights": weights} if name == "weighted" else {})


def drawn(rule, shape, seed):
    rng = np.random.default_rng(seed)
    busy = rng.random(shape) < rng.choice([0.05, 0.5, 1.0])
    return {each.name: rng.choice(each.labels, shape) * busy for each in rule.sources}


@pytest.mark.parametrize(("name", "names"), RULES, ids=str)
@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.sampled_from([1, 3, 8, 16])),
    st.integers(0, 2**32),
    st.data(),
)
def test_layout_and_type_change_nothing(name, names, shape, seed, data):
    rule = compiled(name, names)
    known = drawn(rule, shape, seed)
    expected = apply_table(rule, known, provenance=True, agreement=True)
    changed = {
        each: LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](
            array.astype(data.draw(st.sampled_from(TYPES)))
        )
        for each, array in known.items()
    }
    before = {each: array.copy() for each, array in changed.items()}
    found = apply_table(rule, changed, provenance=True, agreement=True)
    assert (found.label_map == expected.label_map).all()
    assert found.label_map.dtype == expected.label_map.dtype == np.uint8
    assert (found.provenance == expected.provenance).all()
    assert (found.agreement.labels == expected.agreement.labels).all()
    assert (found.agreement.voxels == expected.agreement.voxels).all()
    assert all((changed[each] == before[each]).all() for each in changed)


@pytest.mark.parametrize(("name", "names"), RULES, ids=str)
@pytest.mark.parametrize("block", [1, 13, 64])
def test_block_size_changes_nothing(name, names, block):
    rule = compiled(name, names)
    known = drawn(rule, (3, 5, 8), 7)
    one, other = (
        apply_table(rule, known, provenance=True, agreement=True, block=size)
        for size in (block, 1 << 20)
    )
    assert (one.label_map == other.label_map).all() and (one.provenance == other.provenance).all()
    assert (one.agreement.labels == other.agreement.labels).all()
    assert (one.agreement.voxels == other.agreement.voxels).all()


@pytest.mark.parametrize(("name", "names"), RULES, ids=str)
@pytest.mark.parametrize("value", [-1, 200, 70000], ids=str)
def test_a_label_outside_of_a_source_is_named(name, names, value):
    rule = compiled(name, names)
    known = drawn(rule, (2, 3, 8), 1)
    last = rule.sources[-1].name
    known[last][1, 2, 3] = value
    with pytest.raises(ValueError, match=rf"source {last} must hold only .* found {value}$"):
        apply_table(rule, known)


@pytest.mark.parametrize(("name", "names"), RULES, ids=str)
def test_fractions_unequal_shapes_and_missing_sources_are_named(name, names):
    rule = compiled(name, names)
    known = drawn(rule, (2, 3, 8), 1)
    last = rule.sources[-1].name
    with pytest.raises(TypeError, match=f"source {last} must be an integer array, got float64"):
        apply_table(rule, {**known, last: known[last] / 2})
    with pytest.raises(ValueError, match=rf"one shape, got .* and \(2, 3, 7\) for {last}"):
        apply_table(rule, {**known, last: known[last][..., 1:]})
    with pytest.raises(ValueError, match=f"rule {name} needs the sources .*{last}, got "):
        apply_table(rule, {each: known[each] for each in known if each != last})


def test_staple_too_names_what_is_wrong():
    good = np.zeros((1, 2, 2), np.uint8)
    for bad, error in ((good + 15, ValueError), (good / 2, TypeError), (good[:, 1:], ValueError)):
        with pytest.raises(error, match="B"):
            fuse({"A": good, "B": bad}, rule="staple")
