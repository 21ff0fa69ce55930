from pathlib import Path

import pytest

from flare_infer.inputs import files_of, find_cases


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def ids(path, channels=1):
    return [case.id for case in find_cases(path, channels=channels)]


def test_a_file_is_one_case(tmp_path):
    touch(tmp_path, "scan 1.nii.gz", "liver_0000.nrrd")
    assert ids(tmp_path / "scan 1.nii.gz") == ["scan 1"]
    assert ids(tmp_path / "liver_0000.nrrd") == ["liver"]


def test_a_folder_of_files_with_and_without_channel_numbers(tmp_path):
    touch(tmp_path, "b_0000.nii.gz", "a.mha", "notes.txt", ".hidden.nii")
    assert ids(tmp_path) == ["a", "b"]


def test_channels_are_grouped_in_order(tmp_path):
    touch(tmp_path, "a_0001.nii", "a_0000.nii", "b_0000.nii", "b_0001.nii")
    cases = find_cases(tmp_path, channels=2)
    assert [[path.name for path in case.paths] for case in cases] == [
        ["a_0000.nii", "a_0001.nii"],
        ["b_0000.nii", "b_0001.nii"],
    ]


def test_a_missing_channel_is_named(tmp_path):
    touch(tmp_path, "a_0000.nii", "b_0000.nii", "b_0001.nii")
    with pytest.raises(ValueError, match=r"case a must have the channels \[0, 1\], found \[0\]"):
        find_cases(tmp_path, channels=2)
    touch(tmp_path / "plain", "c.nii")
    with pytest.raises(ValueError, match="files must be named"):
        find_cases(tmp_path / "plain", channels=2)
    with pytest.raises(ValueError, match="takes 2 channels; give a folder"):
        find_cases(tmp_path / "plain" / "c.nii", channels=2)


def test_a_folder_without_volume_files_is_a_dicom_series(tmp_path):
    touch(tmp_path / "series", "IMG1", "IMG2.dcm")
    assert [case.paths for case in find_cases(tmp_path / "series", channels=1)] == [
        (tmp_path / "series",)
    ]
    touch(tmp_path / "second", "IMG1")
    assert ids(tmp_path) == ["second", "series"]


def test_dicom_folders_lie_among_volume_files(tmp_path):
    touch(tmp_path, "b.nii.gz", "labels/b.nii.gz", "notes/short", "c/notes.txt", "empty/x/y")
    (tmp_path / "c" / "IMG1").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "IMG1").write_bytes(bytes(128) + b"DICM")
    cases = find_cases(tmp_path, channels=1)
    assert [case.id for case in cases] == ["a", "b", "c"]
    assert cases[2].paths == (tmp_path / "c",)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "IMG1").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ValueError, match="both named b"):
        find_cases(tmp_path, channels=1)


def test_a_model_of_several_channels_takes_no_dicom_folder(tmp_path):
    touch(tmp_path, "b_0000.nii", "b_0001.nii")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "IMG1").write_bytes(bytes(128) + b"DICM")
    assert ids(tmp_path, channels=2) == ["b"]


def test_the_files_of_a_channel(tmp_path):
    for name in ("a.hdr", "a.img.gz", "a.nii.gz", "a.nii.gz.report.json", "b.nhdr", "c.raw"):
        (tmp_path / name).write_bytes(b"data file: c.raw" if name == "b.nhdr" else b"")

    def names(path):
        return [each.name for each in files_of(path)]

    assert names(tmp_path / "a.hdr") == ["a.hdr", "a.img.gz"]
    assert names(tmp_path / "b.nhdr") == ["b.nhdr", "c.raw"]
    assert names(tmp_path / "a.nii.gz") == ["a.nii.gz"]
    assert len(names(tmp_path)) == 6


def test_two_inputs_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "a.nii", "A_0000.nii.gz")
    with pytest.raises(ValueError, match="both named"):
        find_cases(tmp_path, channels=1)


def test_nothing_to_do_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_cases(tmp_path / "none", channels=1)
    with pytest.raises(FileNotFoundError, match="holds no volume"):
        find_cases(tmp_path, channels=1)
