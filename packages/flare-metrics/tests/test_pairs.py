"""Which prediction belongs to which reference, and what is said where there is none."""

import os

import pytest

from flare_metrics.errors import UnreadableFileError
from flare_metrics.pairs import find_pairs
from flare_metrics.protocols import protocol


@pytest.fixture
def folders(tmp_path):
    def make(predictions, references):
        for role, names in (("p", predictions), ("r", references)):
            (tmp_path / role).mkdir()
            for name in names:
                (tmp_path / role / name).touch()
        return tmp_path / "p", tmp_path / "r"

    return make


def names(pairs):
    return {
        pair.case: tuple(
            [path.name for path in files] for files in (pair.predictions, pair.references)
        )
        for pair in pairs
    }


def test_sound_matches_by_name_in_any_format(folders):
    found = find_pairs(
        *folders(["a.nii", "b.mha", "spare.nii.gz", "notes.txt"], ["a.nii.gz", "b.nrrd", "c.nii"]),
        protocol("sound"),
    )
    assert names(found) == {
        "a": (["a.nii"], ["a.nii.gz"]),
        "b": (["b.mha"], ["b.nrrd"]),
        "c": ([], ["c.nii"]),
        "spare": (["spare.nii.gz"], []),
    }
    assert [pair.hint for pair in found] == ["", "", "", ""]


def test_two_files_of_one_case_are_both_there(folders):
    (found,) = find_pairs(*folders(["a.nii", "a.nii.gz"], ["a.nii.gz"]), protocol("sound"))
    assert [path.name for path in found.predictions] == ["a.nii", "a.nii.gz"]


@pytest.mark.parametrize("name", ["flare22", "flare23", "flare24-task1"])
def test_official_scripts_see_nii_gz_only(folders, name):
    found = find_pairs(
        *folders(["a.nii", "a.nii.gz", "b.nii", "d.nii.gz"], ["a.nii.gz", "b.nii.gz", "d.nii"]),
        protocol(name),
    )
    assert names(found) == {
        "a": (["a.nii.gz"], ["a.nii.gz"]),
        "b": ([], ["b.nii.gz"]),
        "d": (["d.nii.gz"], ["d.nii"]),
    }
    assert found[1].hint.startswith("b.nii is not looked at, only .nii.gz files are; the official")


@pytest.mark.parametrize(
    ("name", "missing", "spare"),
    [
        ("sound", "", ""),
        ("flare22", "the official script leaves it out", "the official script stops here"),
        ("flare23", "the official script stops here", "the official script leaves it out"),
        ("flare24-task1", "the official script leaves it out", "the official script stops here"),
    ],
)
def test_the_loop_decides_what_becomes_of_a_case_in_one_folder(folders, name, missing, spare):
    found = find_pairs(*folders(["b.nii.gz"], ["a.nii.gz"]), protocol(name))
    assert [(pair.case, pair.hint) for pair in found] == [("a", missing), ("b", spare)]


def test_the_suffix_of_images_is_named(folders):
    found = find_pairs(
        *folders(["a_0000.nii.gz", "b.nii.gz"], ["a.nii.gz", "b_0000.nii.gz"]), protocol("sound")
    )
    hints = {pair.case: pair.hint for pair in found}
    assert hints == {
        "a": "a_0000.nii.gz differs by _0000, which images alone carry",
        "b_0000": "b.nii.gz differs by _0000, which images alone carry",
        "a_0000": "a.nii.gz differs by _0000, which images alone carry",
        "b": "b_0000.nii.gz differs by _0000, which images alone carry",
    }


def test_dangling_links_and_folders_of_such_a_name_are_cases(folders):
    predictions, references = folders([], ["a.nii.gz"])
    os.symlink("gone", references / "link.nii.gz")
    (references / "folder.nii.gz").mkdir()
    found = find_pairs(predictions, references, protocol("sound"))
    assert [pair.case for pair in found] == ["a", "folder", "link"]


def test_wrong_folders_are_named(folders, tmp_path):
    predictions, references = folders(["a.nii.gz"], ["notes.txt"])
    with pytest.raises(UnreadableFileError, match="references must hold label maps, found none"):
        find_pairs(predictions, references, protocol("sound"))
    with pytest.raises(UnreadableFileError, match="predictions must be a folder"):
        find_pairs(tmp_path / "gone", predictions, protocol("sound"))
