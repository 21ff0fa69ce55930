"""Protocols as data."""

import pytest

from flare_metrics.protocols import Label, Protocol, protocol, protocol_names

# FLARE 2023's own table: id, column, tolerance.
OFFICIAL = {
    1: ("Liver", 5),
    2: ("RK", 3),
    3: ("Spleen", 3),
    4: ("Pancreas", 5),
    5: ("Aorta", 2),
    6: ("IVC", 2),
    7: ("RAG", 2),
    8: ("LAG", 2),
    9: ("Gallbladder", 2),
    10: ("Esophagus", 3),
    11: ("Stomach", 5),
    12: ("Duodenum", 7),
    13: ("LK", 3),
    14: ("Tumor", 2),
}


@pytest.mark.parametrize("name", ["sound", "flare23"])
def test_labels_and_tolerances_are_the_official_ones(name):
    found = {label.id: (label.column, label.tolerance_mm) for label in protocol(name).labels}
    assert found == OFFICIAL
    assert [label.id for label in protocol(name).labels if label.kind == "lesion"] == [14]


def test_each_quirk_is_a_field():
    sound, official = protocol("sound"), protocol("flare23")
    assert (sound.z_crop, official.z_crop) == ("inclusive", "half-open")
    assert sound.z_crop_labels == official.z_crop_labels == (5, 6, 10)
    assert (sound.nsd_threshold, official.nsd_threshold) == (None, 0.2)
    assert (sound.decimals, official.decimals) == (None, 4)
    assert (sound.tie, official.tie) == ("relative", "strict")
    assert (sound.both_empty, official.both_empty) == ("unscored", "one")
    assert official.with_options(nsd_threshold=0.1).nsd_threshold == 0.1


def test_a_protocol_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "vessels.toml"
    path.write_text(
        'tie = "strict"\n[[labels]]\nid = 3\nname = "portal vein"\ntolerance_mm = 1.5\n'
    )
    rules = protocol(path)
    assert rules.name == "vessels"
    assert rules.labels == (
        Label(id=3, name="portal vein", tolerance_mm=1.5, column="portal vein"),
    )
    assert rules.tie == "strict"


LABEL = '[[labels]]\nid = 1\nname = "a"\ntolerance_mm = 1.0\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels must have unique ids"),
        (LABEL + LABEL, "labels must have unique ids"),
        ('ties = "strict"\n' + LABEL, "unknown key 'ties'; did you mean tie"),
        ('tie = "loose"\n' + LABEL, "tie must be one of relative, strict, got 'loose'"),
        ("z_crop_labels = [9]\n" + LABEL, r"z_crop_labels must be ids of labels, got \[9\]"),
        (LABEL.replace("1.0", "-1.0"), "tolerance_mm of a must be a number >= 0"),
        (LABEL.replace("id = 1", "id = 0"), "id of a label must be an integer > 0"),
        (LABEL + 'kind = "tube"\n', "kind of a must be"),
        ("[[labels]\n", "not a protocol"),
    ],
    ids=["none", "twice", "typo", "value", "crop", "tolerance", "zero", "kind", "toml"],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        protocol(path)


def test_an_unknown_name_lists_the_known_ones():
    assert protocol_names() == ("flare23", "sound")
    with pytest.raises(ValueError, match=r"must be flare23, sound or a .toml file, got 'flare99'"):
        protocol("flare99")


def test_a_protocol_can_be_made_in_code():
    rules = Protocol(name="one", labels=(Label(id=1, name="liver", tolerance_mm=5.0),))
    assert rules.labels[0].column == "liver"
