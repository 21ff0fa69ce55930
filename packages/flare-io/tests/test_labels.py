import json

import numpy as np
import pytest
from pydicom.sr.codedict import Collection, codes

from flare_io.errors import LabelError
from flare_io.label_class import Code, LabelClass, color_by_id, name_key
from flare_io.labels import LabelTable, label_table, label_table_names, map_labels

FLARE23 = label_table("flare23")
TOTALSEGMENTATOR = {
    "liver": 1,
    "kidney_right": 2,
    "spleen": 3,
    "pancreas": 4,
    "aorta": 5,
    "inferior_vena_cava": 6,
    "adrenal_gland_right": 7,
    "adrenal_gland_left": 8,
    "gallbladder": 9,
    "esophagus": 10,
    "stomach": 11,
    "duodenum": 12,
    "kidney_left": 13,
}


def table(*names):
    return LabelTable("mine", tuple(LabelClass(k, name) for k, name in enumerate(names, start=1)))


def test_flare23_is_the_challenges_numbering():
    assert FLARE23.ids == tuple(range(1, 15))
    assert FLARE23.names == (
        "liver",
        "right kidney",
        "spleen",
        "pancreas",
        "aorta",
        "inferior vena cava",
        "right adrenal gland",
        "left adrenal gland",
        "gallbladder",
        "esophagus",
        "stomach",
        "duodenum",
        "left kidney",
        "tumor",
    )
    assert label_table("flare24-task1").ids == (1,)


@pytest.mark.parametrize(("name", "label"), TOTALSEGMENTATOR.items())
def test_totalsegmentators_names_are_known(name, label):
    assert FLARE23.id_of(name) == label


@pytest.mark.parametrize(
    ("alias", "label"),
    [("RK", 2), ("LAG", 8), ("Inferior Vena Cava", 6), ("postcava", 6), ("Left-Kidney", 13)],
)
def test_other_aliases_in_any_spelling(alias, label):
    assert FLARE23.id_of(alias) == label


@pytest.mark.parametrize("name", label_table_names())
def test_colors_differ_and_codes_are_complete(name):
    shipped = label_table(name)
    assert len({each.color for each in shipped.classes}) == len(shipped)
    for each in shipped.classes:
        assert (each.code.modifier is not None) == ("left" in each.name or "right" in each.name)


@pytest.mark.parametrize("name", label_table_names())
def test_codes_are_those_of_the_dicom_context_groups(name):
    def group(number):
        names = Collection(f"CID{number}")
        return {(getattr(names, key).value, getattr(names, key).meaning) for key in names.dir()}

    types, sides, categories = group(7151), group(244), group(7150)
    lesions = group(7159)
    for each in label_table(name).classes:
        code = each.code
        assert (code.value, code.meaning) in (lesions if code.category == "abnormal" else types)
        assert code.modifier is None or code.modifier in sides
        assert code.property_category in categories
    assert codes.SCT.Right.value == Code("1", "x", "right").modifier[0]


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    with pytest.raises(LabelError, match=r"no class 'spleeen'; did you mean 'spleen'"):
        FLARE23.id_of("spleeen")
    with pytest.raises(LabelError, match="'left kidney' or 'right kidney'"):
        FLARE23.id_of("kidney")
    with pytest.raises(LabelError, match="its classes are liver, right kidney"):
        FLARE23.id_of("xyzzy")


def test_lookup_by_id():
    assert FLARE23.name_of(0) == "background"
    assert FLARE23[14].name == "tumor"
    with pytest.raises(LabelError, match="has no class 15; its ids are 1, 2"):
        FLARE23[15]
    assert FLARE23.find("bladder wall") is None
    assert FLARE23.ids_of(["tumor", "liver"]) == (14, 1)


def test_unknown_tables_are_answered_with_the_known_ones():
    with pytest.raises(LabelError, match="choose one of flare23, flare24-task1"):
        label_table("flare22")


@pytest.mark.parametrize("name", label_table_names())
def test_json_is_the_way_back(name):
    shipped = label_table(name)
    assert LabelTable.from_dict(json.loads(json.dumps(shipped.to_dict()))) == shipped


def test_subset_keeps_ids():
    assert FLARE23.subset([14, 1, 1]).ids == (1, 14)
    with pytest.raises(LabelError, match="has no class 99"):
        FLARE23.subset([99])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "needs at least one class"),
        ((LabelClass(1, "a"), LabelClass(1, "b")), "found 1 in 'a' and 'b'"),
        ((LabelClass(1, "a b"), LabelClass(2, "A_B")), "must be used once"),
        ((LabelClass(1, "a", ("x",)), LabelClass(2, "b", ("X",))), "found 'x' in 'a' and 'b'"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(classes, message):
    with pytest.raises(LabelError, match=message):
        LabelTable("mine", classes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 0, "name": "a"}, "id must be at least 1"),
        ({"id": 1, "name": " _"}, "name must hold letters or digits"),
        ({"id": 1, "name": "a", "color": (0, 0, 256)}, "color must be three numbers 0..255"),
    ],
)
def test_impossible_classes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        LabelClass(**fields)


def test_check_names_the_values_outside():
    FLARE23.check(np.arange(15).reshape(3, 5))
    with pytest.raises(LabelError, match=r"a.nii: .*\(1-14\), found -1, 15-17"):
        FLARE23.check(np.array([[-1, 0], [15, 17], [16, 3]]), source="a.nii")


def test_from_names_takes_what_flare_knows():
    mine = LabelTable.from_names("mine", {"background": 0, "Kidney_Left": 2, "portal vein": 7})
    assert mine.names == ("Kidney_Left", "portal vein")
    assert mine[2].code == FLARE23[13].code
    assert mine[2].color == FLARE23[13].color
    assert mine.id_of("LK") == 2
    assert mine[7].code is None


def test_from_names_with_two_names_of_one_class():
    mine = LabelTable.from_names("mine", {"tumor": 1, "lesion": 2})
    assert (mine.id_of("tumor"), mine.id_of("lesion")) == (1, 2)


def test_map_labels_there_and_back():
    source = LabelTable.from_names("total", {name: 40 - k for name, k in TOTALSEGMENTATOR.items()})
    labels = np.random.default_rng(0).choice([0, *source.ids], (4, 5, 6))
    there = map_labels(labels, source, FLARE23)
    assert there.dtype == np.uint8
    np.testing.assert_array_equal(there, np.where(labels > 0, 40 - labels, 0))
    np.testing.assert_array_equal(map_labels(there, FLARE23.subset(range(1, 14)), source), labels)


def test_map_labels_without_a_match():
    source, target = table("liver", "colon"), table("liver")
    labels = np.array([0, 1, 2])
    with pytest.raises(LabelError, match="has no class for colon; pass unmatched='drop'"):
        map_labels(labels, source, target)
    assert map_labels(labels, source, target, unmatched="drop").tolist() == [0, 1, 0]
    # A class that does not occur needs no match.
    assert map_labels(labels[:2], source, target).tolist() == [0, 1]


def test_map_labels_refuses_values_outside_the_source():
    with pytest.raises(LabelError, match="found 3"):
        map_labels(np.array([0, 3]), table("a"), table("a"))


def test_map_labels_to_large_ids_widens_the_type():
    target = LabelTable("big", (LabelClass(300, "a"),))
    assert map_labels(np.array([1], np.uint8), table("a"), target).dtype == np.uint16


def test_name_keys_and_colors():
    assert name_key("Left Kidney") == name_key("left_kidney") == name_key("LEFT-KIDNEY")
    assert len({color_by_id(k) for k in range(1, 100)}) > 90
