"""Lists of cases, written and read."""

import json

import pytest

from flare_fusion.case_list import read_case_list, write_case_list
from flare_io.errors import DatasetError


@pytest.mark.parametrize("name", ["cases.json", "cases.txt"])
def test_what_is_written_is_read(tmp_path, name):
    write_case_list(tmp_path / name, ["b", "a"], about={"by": "agreement"})
    assert read_case_list(tmp_path / name) == ("b", "a")


def test_json_says_how_the_list_came_to_be(tmp_path):
    write_case_list(tmp_path / "cases.json", ["a"], about={"threshold": 0.9})
    assert json.loads((tmp_path / "cases.json").read_text()) == {"threshold": 0.9, "cases": ["a"]}


@pytest.mark.parametrize(
    "text",
    ['["a", "b"]', "\ufeffa\r\nb\r\n", "# chosen by hand\n\n a \nb", '{"cases": ["a", "b"]}'],
)
def test_other_hands_write_lists_too(tmp_path, text):
    (tmp_path / "list").write_bytes(text.encode())
    assert read_case_list(tmp_path / "list") == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"cases": "a"}', "no list of names under 'cases'; write one with flare-fusion select"),
        (b'["a", 3]', "no list of names"),
        (b"[1, ", "must be a list of cases, found"),
        (b"# nothing\n", "lists no case"),
        (b"a\nb\na\n", "lists case 'a' more than once"),
        (b"\xff\xfe\x00", "must be a list of cases, found"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, text, message):
    (tmp_path / "list").write_bytes(text)
    with pytest.raises(DatasetError, match=message):
        read_case_list(tmp_path / "list")
    with pytest.raises(FileNotFoundError):
        read_case_list(tmp_path / "gone")
