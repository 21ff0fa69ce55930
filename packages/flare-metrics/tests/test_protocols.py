"""Protocols as data."""

from pathlib import Path

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


def test_flare22_has_no_lesion_and_flare24_task_1_nothing_else():
    organs = {label.id: (label.column, label.tolerance_mm) for label in protocol("flare22").labels}
    assert organs == {key: value for key, value in OFFICIAL.items() if key != 14}
    (lesion,) = protocol("flare24-task1").labels
    assert (lesion.id, lesion.column, lesion.tolerance_mm, lesion.kind) == (
        1,
        "Lesion",
        2,
        "lesion",
    )


@pytest.mark.parametrize(
    ("name", "threshold", "cast", "other", "geometry", "loop"),
    [
        ("sound", None, "none", "refuse", "compare", "references"),
        ("flare22", None, "uint8", "ignore", "none", "predictions"),
        ("flare23", 0.2, "int8", "ignore", "shape", "references"),
        ("flare24-task1", 0.2, "uint8", "zero", "none", "predictions"),
    ],
)
def test_what_tells_the_protocols_apart(name, threshold, cast, other, geometry, loop):
    rules = protocol(name)
    assert (rules.nsd_threshold, rules.cast, rules.other_labels) == (threshold, cast, other)
    assert (rules.geometry, rules.loop) == (geometry, loop)
    assert rules.match == ("case" if name == "sound" else "file")
    assert rules.detection == ("overlap" if name == "sound" else "none")
    assert rules.edge == "surface"


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
        ("", "must have tables"),
        ("labels = 3", "must have tables"),
        (LABEL + LABEL, "labels must have unique ids"),
        (LABEL + LABEL.replace("id = 1", "id = 2"), "labels must have unique names, got a twice"),
        ("[[labels]]\nid = 3\n", "a label must have name, tolerance_mm, found"),
        (LABEL.replace('"a"', '""'), "name of label 1 must be a word"),
        ('ties = "strict"\n' + LABEL, "unknown key 'ties'; did you mean tie"),
        ('tie = "loose"\n' + LABEL, "tie must be one of relative, strict, got 'loose'"),
        ("z_crop_labels = [9]\n" + LABEL, r"z_crop_labels must be ids of labels, got \[9\]"),
        (LABEL.replace("1.0", "-1.0"), "tolerance_mm of a must be a number >= 0"),
        (LABEL.replace("id = 1", "id = 0"), "id of a label must be an integer in"),
        (LABEL + 'kind = "tube"\n', "kind of a must be"),
        ("[[labels]\n", "not a protocol"),
    ],
    ids=[
        "none",
        "number",
        "twice",
        "name",
        "bare",
        "unnamed",
        "typo",
        "value",
        "crop",
        "tolerance",
        "zero",
        "kind",
        "toml",
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        protocol(path)


def test_an_unknown_name_lists_the_known_ones():
    assert protocol_names() == ("flare22", "flare23", "flare24-task1", "sound")
    with pytest.raises(ValueError, match=r"sound or a .toml file, got 'flare32'; did you mean"):
        protocol("flare32")


def test_a_protocol_can_be_made_in_code():
    rules = Protocol(name="one", labels=(Label(id=1, name="liver", tolerance_mm=5.0),))
    assert rules.labels[0].column == "liver"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("z_crop=inclusive", "z_crop", "inclusive"),
        ("nsd_threshold = 0.1", "nsd_threshold", 0.1),
        ("nsd_threshold=none", "nsd_threshold", None),
        ("decimals=none", "decimals", None),
        ("decimals=2", "decimals", 2),
        ("z_crop_labels=5,6", "z_crop_labels", (5, 6)),
        ("z_crop_labels=none", "z_crop_labels", ()),
        ("cast=none", "cast", "none"),
    ],
)
def test_every_quirk_can_be_switched_by_text(text, name, value):
    rules = protocol("flare23")
    changed = rules.with_setting(text)
    assert getattr(changed, name) == value
    assert {**rules.settings, name: value} == changed.settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z_crop", "a setting must be FIELD=VALUE, got 'z_crop'"),
        ("zcrop=none", "unknown field 'zcrop'; did you mean z_crop?"),
        ("labels=1", "unknown field 'labels'; did you mean z_crop_labels|other_labels"),
        ("q=1", "unknown field 'q'; there are tie, edge"),
        ("z_crop=open", "z_crop must be one of none, inclusive, half-open, got 'open'"),
        ("nsd_threshold=low", "nsd_threshold must be none or a number, got 'low'"),
        ("nsd_threshold=2", r"nsd_threshold must be none or in \[0, 1\], got 2.0"),
        ("nsd_threshold=nan", r"nsd_threshold must be none or in \[0, 1\], got nan"),
        ("decimals=-1", "decimals must be none or 0 to 15, got -1"),
        ("z_crop_labels=5;6", "z_crop_labels must be none or ids separated by commas"),
        ("z_crop_labels=99", r"z_crop_labels must be ids of labels, got \[99\]"),
    ],
)
def test_a_wrong_setting_is_told_what_is_right(text, message):
    with pytest.raises(ValueError, match=message):
        protocol("flare23").with_setting(text)


def test_settings_name_every_field_but_the_labels():
    assert set(protocol("sound").settings) == {
        *("tie", "edge", "both_empty", "missing_prediction", "other_labels", "z_axis", "z_crop"),
        *("z_crop_labels", "nsd_threshold", "decimals", "detection", "cast", "geometry"),
        *("match", "loop"),
    }


def test_the_documented_table_is_the_data():
    text = (Path(__file__).parents[1] / "PROTOCOLS.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and "---" not in line
    ]
    (_, *names), *fields = rows
    assert set(names) == set(protocol_names())
    for column, name in enumerate(names, 1):
        rules = protocol(name)
        assert [row[0] for row in fields] == list(rules.settings)
        for row in fields:
            assert rules.with_setting(f"{row[0]}={row[column]}") == rules, (name, row[0])
    for field in protocol("sound").settings:
        assert f"- **{field}**" in text or field == "z_crop_labels"
