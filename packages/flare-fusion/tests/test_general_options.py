"""Options of general rules, from Python and from text."""

import numpy as np
import pytest

from flare_fusion.general_options import (
    named_sources,
    read_flag,
    read_ignore_label,
    read_labels,
    read_tie,
    read_weights,
)
from flare_fusion.rules import Source

SOURCES = tuple(Source(name=name, labels=(0, 1, 14)) for name in ("A", "mine"))


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("0-3", (0, 1, 2, 3)),
        ("1,5", (0, 1, 5)),
        ("2-3,9", (0, 2, 3, 9)),
        (7, (0, 7)),
        (range(3), (0, 1, 2)),
        (np.array([4, 2]), (0, 2, 4)),
        ({3}, (0, 3)),
    ],
    ids=str,
)
def test_labels(value, labels):
    assert read_labels(value) == labels


@pytest.mark.parametrize("value", ["a", "1-", "-1", 1.5, [True], [70000], [1.0], None], ids=str)
def test_what_is_no_label_is_refused(value):
    with pytest.raises(ValueError, match="option labels must be whole numbers 0 to 65535"):
        read_labels(value)


@pytest.mark.parametrize("value", [[], "0", "3-1"], ids=str)
def test_no_labels_at_all_are_refused(value):
    with pytest.raises(ValueError, match="must name a label beside 0"):
        read_labels(value)


def test_ties():
    assert read_tie("background", (0, 1)) == {}
    assert read_tie("first", (0, 1)) == {"prefer_first": True}
    assert read_tie(0, (0, 1)) == {"undecided": 0}
    assert read_ignore_label("tie", np.uint8(255), (0, 1)) == 255
    with pytest.raises(ValueError, match="no source may hold, got 300; take 301"):
        read_ignore_label("tie", 300, (0, 300))


def test_flags():
    assert read_flag("per_label", True) is True
    with pytest.raises(ValueError, match="per_label must be true or false, got 1"):
        read_flag("per_label", 1)


@pytest.mark.parametrize(
    ("value", "weights"),
    [
        ({"A": 2, "mine": 1}, ((2, 2, 2), (1, 1, 1))),
        ("A:2,mine:0.5", ((2, 2, 2), (0.5, 0.5, 0.5))),
        ("A:2,mine:1,mine/14:3", ((2, 2, 2), (1, 1, 3))),
        ("A:2,mine/14:3", ((2, 2, 2), (1, 1, 3))),
        ({"A": {14: 0}, "mine": np.float32(4)}, ((1, 1, 0), (4, 4, 4))),
    ],
    ids=str,
)
def test_weights(value, weights):
    assert read_weights(value, SOURCES) == weights


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"A": 1}, "lacks source mine; it names A"),
        ({"A": 1, "mien": 1}, r"names 'mien'; the sources are A, mine; did you mean mine\?"),
        ({"A": -1, "mine": 1}, "weight of source A must be a number >= 0, got -1"),
        ({"A": float("nan"), "mine": 1}, "must be a number >= 0, got nan"),
        ({"A": "much", "mine": 1}, "must be a number >= 0, got 'much'"),
        ({"A": None, "mine": 1}, "must be a number >= 0, got None"),
        ({"A": {3: 1}, "mine": 1}, "source A holds no label 3, only 0, 1, 14"),
        ({"A": 0, "mine": {1: 0}}, "some source must have a weight > 0 for label 1"),
        ({"A": 0, "mine": 0}, "some source must have a weight > 0 for label 0"),
        ("A=1", "must be like A:2,B:1"),
        ("A/x:1", "must be like A:2,B:1"),
        (3, "must name a weight for each source, got 3"),
    ],
    ids=str,
)
def test_wrong_weights_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        read_weights(value, SOURCES)


def test_sources_that_weights_name():
    assert named_sources("A:2,mine:1,mine/14:3") == ("A", "mine")
    assert named_sources({"x": 1}) == ("x",)
    assert named_sources(3) == ()
