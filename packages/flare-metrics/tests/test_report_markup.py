"""Markup: whatever comes from outside stays text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics.report.markup import Html, element, joined, visible

from .report_cases import HOSTILE, parsed

ANY_TEXT = st.text(st.characters(), max_size=40)


@settings(max_examples=60, deadline=None)
@given(ANY_TEXT, ANY_TEXT)
def test_text_and_attributes_come_back_and_add_no_element(text, value):
    root = parsed(element("p", text, title=value, data_value=value))
    (only,) = root.children
    assert (only.tag, only.text, only["title"]) == ("p", visible(text), visible(value))
    assert only["data-value"] == visible(value)
    assert not [child for child in only.children if not isinstance(child, str)]


@settings(max_examples=60, deadline=None)
@given(ANY_TEXT)
def test_visible_text_is_printable_can_be_encoded_and_stays_the_same(text):
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    shown.encode()


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_inert_in_text_and_attribute(name):
    root = parsed(element("div", name, title=name))
    assert len(root.all("div")) == 1 and not root.all("script") and not root.all("b")
    assert set(root.one("div").attributes) == {"title"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("case 1", "case 1"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202eabc", "\\u202eabc"),
        ("\u05d0", "\u05d0"),
        ("\udcff", "\\udcff"),
        ("\u2028", "\\u2028"),
        ("a\u00a0b", "a\\xa0b"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text, shown):
    assert visible(text) == shown


def test_attributes_are_left_out_bare_or_renamed():
    made = element("td", class_="x", hidden=True, title=None, id=False, aria_sort="none", colspan=0)
    assert made == '<td class="x" hidden aria-sort="none" colspan="0"></td>'


def test_markup_goes_in_as_it_is_none_not_at_all_numbers_as_text():
    assert joined([Html("<b>"), None, "<", 0, 1.5]) == "<b>&lt;01.5"
    assert isinstance(joined([]), Html)
    assert element("p", element("b", "x"), " & ", None) == "<p><b>x</b> &amp; </p>"


def test_void_elements_have_no_end():
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("img", src="data:,") == '<img src="data:,">'
