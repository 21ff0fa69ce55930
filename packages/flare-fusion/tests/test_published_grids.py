"""Every published rule on its whole grid, against the publications written once more, in plain ifs.

The oracle below reads one voxel at a time and shares nothing with the package but the names.
"""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_fusion import Origin, compile_table, fuse, fusion_rule
from flare_fusion.grid import grid_digest, grid_lines

GOLDEN = Path(__file__).parent / "golden"
ORGANS = range(1, 14)
TUMOR = 14
FEW = settings(max_examples=25, deadline=None)
SOME_K = [(), (1, 5), (14,), (3, 9, 14), tuple(range(1, 15))]
YES_NO = (False, True)


def s1_organs(a, b, r, *, annotated=(), trust_partial=False, gt_first=False, tie="background"):
    if a == 0 and b == 0:
        return r if trust_partial and r in ORGANS else 0
    if a == b:
        return r if gt_first and r in annotated and r in ORGANS else a
    if a == 0 or b == 0:
        return a + b
    if r in (a, b):
        return r
    if r == 0:
        return {"background": 0, "A": a, "B": b}[tie]
    return 0


def s1_labeled(voxel, *, annotated=(), tumor_inside_mask=False, **options):
    a, b, p = voxel["A"], voxel["B"], voxel["partial"]
    if p == TUMOR and (a or b or not tumor_inside_mask):
        return TUMOR
    return s1_organs(a, b, p, annotated=annotated, **options)


def s1_unlabeled(voxel, *, annotated=(), tumor_inside_mask=False, **options):
    a, b = voxel["A"], voxel["B"]
    votes = sum(voxel[name] == TUMOR for name in ("T1", "T2", "T3"))
    if votes >= 2 and (a or b or not tumor_inside_mask):
        return TUMOR
    return s1_organs(a, b, voxel["T1"], **options)


def s2(voxel, *, annotated=(), erase, layer=False):
    p, q = voxel["partial"], voxel["pseudo"]
    if p == TUMOR:
        return TUMOR
    if layer and voxel["tumor"] == TUMOR and TUMOR not in annotated:
        return TUMOR
    if p != 0:
        return p
    return 0 if erase and q in annotated else q


def s3(voxel, *, annotated=(), fill="B"):
    if voxel["partial"] != 0:
        return voxel["partial"]
    agreed = voxel["A"] if voxel["A"] == voxel["B"] else 0
    filled = {"A": voxel["A"], "B": voxel["B"], "agree": agreed}[fill]
    return 0 if filled in annotated else filled


def s4(voxel, *, annotated=()):
    return TUMOR if voxel["tumor"] == TUMOR else voxel["organs"]


AXES = {
    "s1-labeled": {"A": range(14), "B": range(14), "partial": range(15)},
    "s1-unlabeled": {
        "A": range(14),
        "B": range(14),
        "T1": range(15),
        "T2": (0, 3, 14),
        "T3": (0, 14),
    },
    "s2-replace": {"partial": range(15), "pseudo": range(14)},
    "s2-overlay": {"partial": range(15), "pseudo": range(14)},
    "s2-replace-tumor": {"partial": range(15), "pseudo": range(14), "tumor": range(15)},
    "s2-overlay-tumor": {"partial": range(15), "pseudo": range(14), "tumor": range(15)},
    "s3-merge": {"partial": range(15), "A": range(14), "B": range(14)},
    "s4-overlay": {"organs": range(14), "tumor": range(15)},
}
ORACLES = {
    "s1-labeled": s1_labeled,
    "s1-unlabeled": s1_unlabeled,
    "s2-replace": lambda voxel, **known: s2(voxel, erase=True, **known),
    "s2-overlay": lambda voxel, **known: s2(voxel, erase=False, **known),
    "s2-replace-tumor": lambda voxel, **known: s2(voxel, erase=True, layer=True, **known),
    "s2-overlay-tumor": lambda voxel, **known: s2(voxel, erase=False, layer=True, **known),
    "s3-merge": s3,
    "s4-overlay": s4,
}
OPTIONS = {
    "s1-labeled": [
        dict(zip(("trust_partial", "gt_first", "tie", "tumor_inside_mask"), values, strict=True))
        for values in product(YES_NO, YES_NO, ("background", "A", "B"), YES_NO)
    ],
    "s1-unlabeled": [
        dict(zip(("trust_partial", "tie", "tumor_inside_mask"), values, strict=True))
        for values in product(YES_NO, ("background", "A", "B"), YES_NO)
    ],
    "s3-merge": [{"fill": fill} for fill in ("A", "B", "agree")],
}


def whole_grid(name):
    axes = AXES[name]
    values = np.meshgrid(*(np.array(axis, np.uint8) for axis in axes.values()), indexing="ij")
    return {source: each.reshape(1, 1, -1) for source, each in zip(axes, values, strict=True)}


def expected(name, *, annotated, **options):
    names = tuple(AXES[name])
    return [
        ORACLES[name](dict(zip(names, cell, strict=True)), annotated=annotated, **options)
        for cell in product(*AXES[name].values())
    ]


def fused(name, **options):
    return fuse(whole_grid(name), rule=name, **options).label_map.ravel().tolist()


@pytest.mark.parametrize("options", OPTIONS["s1-labeled"], ids=str)
def test_s1_labeled_on_all_of_14_by_14_by_15(options):
    for annotated in [(1, 5, 14), ()] if options["gt_first"] else [None]:
        found = fused("s1-labeled", annotated=annotated, **options)
        assert len(found) == 14 * 14 * 15
        assert found == expected("s1-labeled", annotated=annotated or (), **options)


@pytest.mark.parametrize("options", OPTIONS["s1-unlabeled"], ids=str)
def test_s1_unlabeled_on_its_grid(options):
    assert fused("s1-unlabeled", **options) == expected("s1-unlabeled", annotated=(), **options)


@pytest.mark.parametrize("annotated", SOME_K, ids=str)
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name in list(AXES)[2:] for options in OPTIONS.get(name, [{}])],
    ids=str,
)
def test_s2_s3_and_s4_on_their_grids(name, options, annotated):
    found = fused(name, annotated=annotated, **options)
    assert found == expected(name, annotated=annotated, **options)


def test_the_defaults_are_the_readings_that_the_publications_suggest():
    for name, choices in OPTIONS.items():
        rule = fusion_rule(name)
        assert {option.name: option.choices for option in rule.options} == {
            option: tuple(dict.fromkeys(each[option] for each in choices)) for option in choices[0]
        }
    defaults = {
        name: {option.name: option.default for option in fusion_rule(name).options}
        for name in OPTIONS
    }
    assert defaults == {
        "s1-labeled": {
            "trust_partial": False,
            "gt_first": False,
            "tie": "background",
            "tumor_inside_mask": False,
        },
        "s1-unlabeled": {"trust_partial": False, "tie": "background", "tumor_inside_mask": False},
        "s3-merge": {"fill": "B"},
    }


@pytest.mark.parametrize(
    ("option", "flipped"),
    [
        # The cells in which an option may change the label: row 1, 2, 8 and the tumor outside.
        ({"trust_partial": True}, lambda a, b, r: a == b == 0 and r in ORGANS),
        ({"gt_first": True}, lambda a, b, r: a == b != 0 and r in (1, 5) and r != a),
        ({"tie": "A"}, lambda a, b, r: 0 < a != b > 0 and r == 0),
        ({"tie": "B"}, lambda a, b, r: 0 < a != b > 0 and r == 0),
        ({"tumor_inside_mask": True}, lambda a, b, r: a == b == 0 and r == TUMOR),
    ],
    ids=str,
)
def test_an_option_flips_only_the_rows_that_it_names(option, flipped):
    base, other = fused("s1-labeled"), fused("s1-labeled", annotated=(1, 5), **option)
    cells = product(range(14), range(14), range(15))
    for cell, before, after in zip(cells, base, other, strict=True):
        assert (before != after) == flipped(*cell), cell


@pytest.mark.parametrize("name", ["s1-labeled", "s1-unlabeled", "s3-merge"])
def test_swapping_a_and_b_changes_nothing_where_no_option_prefers_one(name):
    options = {"fill": "agree", "annotated": (2, 9)} if name == "s3-merge" else {}
    grid = whole_grid(name)
    swapped = {**grid, "A": grid["B"], "B": grid["A"]}
    one, other = (fuse(each, rule=name, **options).label_map for each in (grid, swapped))
    assert (one == other).all()


@pytest.mark.parametrize(("option", "rule"), [("tie", "s1-labeled"), ("fill", "s3-merge")])
def test_preferring_a_is_preferring_b_with_the_two_swapped(option, rule):
    grid = whole_grid(rule)
    swapped = {**grid, "A": grid["B"], "B": grid["A"]}
    one = fuse(grid, rule=rule, annotated=(2, 9), **{option: "A"}).label_map
    other = fuse(swapped, rule=rule, annotated=(2, 9), **{option: "B"}).label_map
    assert (one == other).all()


def any_options(name):
    return st.sampled_from(OPTIONS.get(name, [{}]))


@FEW
@given(
    st.sampled_from(list(AXES)).flatmap(lambda name: st.tuples(st.just(name), any_options(name))),
    st.sets(st.integers(1, 14)),
)
def test_no_class_appears_from_nowhere_and_equal_inputs_come_back(case, annotated):
    name, options = case
    grid = whole_grid(name)
    label_map = fuse(grid, rule=name, annotated=annotated, **options).label_map
    held = np.logical_or.reduce([label_map == array for array in grid.values()])
    assert (held | (label_map == 0)).all()
    # Organs on which all sources agree stay, also those of a K that holds them.
    organs = np.arange(14, dtype=np.uint8).reshape(1, 2, 7)
    same = fuse(dict.fromkeys(grid, organs), rule=name, annotated=annotated, **options)
    assert (same.label_map == organs).all()


def test_the_tumor_of_the_partial_label_always_comes_through():
    for name in ("s1-labeled", "s2-replace", "s2-overlay", "s2-replace-tumor", "s3-merge"):
        grid = whole_grid(name)
        tumor = grid["partial"] == TUMOR
        for annotated in SOME_K:
            label_map = fuse(grid, rule=name, annotated=annotated).label_map
            assert (label_map[tumor] == TUMOR).all()
            if name != "s2-replace-tumor":
                assert (label_map[~tumor] != TUMOR).all()


def test_a_predicted_tumor_counts_only_where_nobody_looked_for_one():
    grid = whole_grid("s2-replace-tumor")
    predicted = grid["tumor"] == TUMOR
    unknown = fuse(grid, rule="s2-replace-tumor", annotated={1, 2}).label_map
    known = fuse(grid, rule="s2-replace-tumor", annotated={1, 2, 14}).label_map
    assert (unknown[predicted] == TUMOR).all()
    assert ((known == TUMOR) == (grid["partial"] == TUMOR)).all()


def test_s2s_tumor_layer_is_s2_with_s4s_overlay_where_nobody_looked_for_tumors():
    grid = whole_grid("s2-overlay-tumor")
    pair = {name: grid[name] for name in ("partial", "pseudo")}
    pair["partial"] = np.where(pair["partial"] == TUMOR, 0, pair["partial"])
    organs = fuse(pair, rule="s2-overlay").label_map
    chained = fuse({"organs": organs, "tumor": grid["tumor"]}, rule="s4-overlay").label_map
    at_once = fuse({**pair, "tumor": grid["tumor"]}, rule="s2-overlay-tumor", annotated=())
    assert (chained == at_once.label_map).all()


def s1_origin(a, b, r, tumor, lone):
    if tumor:
        return Origin.TUMOR
    if a == b:
        return Origin.AGREEMENT if a else Origin.BACKGROUND
    if a == 0 or b == 0:
        return lone[a == 0]
    return Origin.VOTE if r in (a, b) else Origin.TIE


@pytest.mark.parametrize("name", ["s1-labeled", "s1-unlabeled"])
def test_s1_says_where_each_label_came_from(name):
    found = fuse(whole_grid(name), rule=name, provenance=True).provenance.ravel().tolist()
    lone = (Origin.A_ONLY, Origin.B_ONLY)
    for (a, b, *seen), origin in zip(product(*AXES[name].values()), found, strict=True):
        tumor = seen.count(TUMOR) >= (2 if name == "s1-unlabeled" else 1)
        assert origin == s1_origin(a, b, seen[0], tumor, lone), (a, b, *seen)


def test_s2_and_s4_say_where_each_label_came_from():
    found = fuse(whole_grid("s2-replace"), rule="s2-replace", annotated=(2, 9), provenance=True)
    for (p, q), origin in zip(
        product(range(15), range(14)), found.provenance.ravel().tolist(), strict=True
    ):
        lone = Origin.PSEUDO_ONLY if q else Origin.BACKGROUND
        known = Origin.GROUND_TRUTH if p or q in (2, 9) else lone
        assert origin == (Origin.TUMOR if p == TUMOR else known), (p, q)
    found = fuse(whole_grid("s4-overlay"), rule="s4-overlay", provenance=True).provenance
    assert (found == Origin.TUMOR).sum() == 14


def s3_origin(a, b, fill, annotated):
    """Return the origin of S3 where the partial label is 0."""
    claims = {"A": [a], "B": [b], "agree": [a, b]}[fill]
    if any(claims) and all(claim == 0 or claim in annotated for claim in claims):
        return Origin.GROUND_TRUTH
    if a == b:
        return Origin.AGREEMENT if a else Origin.BACKGROUND
    if fill == "agree":
        return Origin.TIE
    return {"A": Origin.A_ONLY, "B": Origin.B_ONLY}[fill] if claims[0] else Origin.BACKGROUND


@pytest.mark.parametrize("fill", ["A", "B", "agree"])
def test_s3_says_where_each_organ_came_from(fill):
    grid = whole_grid("s3-merge")
    found = fuse(grid, rule="s3-merge", annotated=(2, 9), fill=fill, provenance=True).provenance
    cells = product(range(15), range(14), range(14))
    for (p, a, b), origin in zip(cells, found.ravel().tolist(), strict=True):
        known = Origin.GROUND_TRUTH if p else s3_origin(a, b, fill, (2, 9))
        assert origin == known, (p, a, b)


def compiled_with_defaults(name):
    return compile_table(fusion_rule(name), annotated=(1, 5, 14))


@pytest.mark.parametrize("name", ["s1-labeled", "s2-replace", "s3-merge", "s4-overlay"])
def test_the_grid_is_the_one_on_file(name):
    text = "\n".join(grid_lines(compiled_with_defaults(name))) + "\n"
    assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_labels_and_origins_of_every_rule_have_the_digest_on_file():
    lines = [f"{name} {grid_digest(compiled_with_defaults(name))}\n" for name in AXES]
    assert "".join(lines) == (GOLDEN / "digests.txt").read_text(encoding="utf-8")


def test_no_two_rules_are_the_same():
    digests = [grid_digest(compiled_with_defaults(name)) for name in AXES]
    assert all(one != other for one, other in combinations(digests, 2))
