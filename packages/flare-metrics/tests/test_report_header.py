"""Protocols in plain words: every field has a sentence, and quirks are told apart."""

import pytest

from flare_metrics.protocols import _CHOICES, Label, Protocol, protocol, protocol_names
from flare_metrics.report import report_html
from flare_metrics.report.rules import rules_in_words

from .report_cases import case, folder, parsed


@pytest.mark.parametrize("name", protocol_names())
def test_every_field_has_a_sentence(name):
    rules = protocol(name)
    sentences = [words for words, _ in rules_in_words(rules)]
    assert len(sentences) == len(rules.settings) - 1
    assert all(words[0].isupper() or words.startswith("z ") for words in sentences)
    assert all(words.endswith(".") and ": " not in words[:12] for words in sentences)


def test_every_choice_has_a_sentence_of_its_own():
    base = protocol("sound")
    for field, choices in _CHOICES.items():
        spoken = set()
        for choice in choices:
            changed = base.with_options(**{field: choice})
            spoken |= {words for words, departs in rules_in_words(changed) if departs}
        assert len(spoken) == len(choices) - 1, field


def test_the_sound_protocol_has_no_quirks_and_others_show_them_first():
    assert not any(departs for _, departs in rules_in_words(protocol("sound")))
    sentences = rules_in_words(protocol("flare23"))
    flags = [departs for _, departs in sentences]
    assert flags == sorted(flags, reverse=True) and sum(flags) == 12
    quirks = [words for words, departs in sentences if departs]
    assert "NSD is 0 where DSC is below 0.2." in quirks
    assert "Each score is rounded to 4 decimals, then each mean." in quirks
    assert any(
        words.startswith("Aorta, inferior vena cava, esophagus") and "without the last" in words
        for words in quirks
    )


def test_a_crop_of_other_labels_departs_and_one_without_labels_crops_nothing():
    other = protocol("sound").with_options(z_crop_labels=(5,))
    assert ("Aorta: scored on the slices that the reference labels, first and last included.",
            True) in rules_in_words(other)  # fmt: skip
    own = Protocol(
        name="own", labels=(Label(id=1, name="x", tolerance_mm=1.0),), z_crop="inclusive"
    )
    assert any(words == "Every label is scored on all slices." for words, _ in rules_in_words(own))


def head_of(rules):
    root = parsed(report_html(folder(case(rules=rules), rules=rules)))
    return root, root.one("header").text


def test_quirks_stand_in_the_head_and_all_rules_at_the_end():
    root, text = head_of(protocol("flare23"))
    assert "Quirks of this protocol" in text and "NSD is 0 where DSC is below 0.2." in text
    rules = root.one("section", id="rules")
    assert len(rules.all("li", class_="quirk")) == 12
    assert "liver 5, right kidney 3" in rules.text
    _, text = head_of(protocol("sound"))
    assert "Quirks" not in text and "no quirks" in text


def test_only_computed_numbers_are_defined():
    _, text = head_of(protocol("sound"))
    assert "DSC: " in text and "NSD: " in text and "HD95" not in text
    result = folder(case())
    import dataclasses

    labels = tuple(
        dataclasses.replace(score, hd95_mm=1.0, assd_mm=0.5)
        for score in result.cases[0].score.labels
    )
    score = dataclasses.replace(result.cases[0].score, labels=labels)
    result = folder(dataclasses.replace(result.cases[0], score=score))
    head = parsed(report_html(result)).one("header").text
    assert "HD95: " in head and "ASSD: " in head and "by area" in head


def test_means_of_organs_are_absent_where_there_are_no_organs():
    _, text = head_of(protocol("flare24-task1"))
    assert "mean organ" not in text
    assert "Scores of 1 case" in text
