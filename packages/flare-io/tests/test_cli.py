import json

import numpy as np
import pytest

from flare_io.cli import main
from flare_io.files import read_header, read_label_map, read_volume

from .conftest import ct_array


@pytest.fixture
def run(capsys):
    def call(*argv):
        code = main([str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_info_prints_the_grid(make, run):
    code, out, err = run("info", make.nifti())
    assert (code, err) == (0, "")
    assert "9 x 10 x 11 (z, y, x), int16" in out and "SAR" in out and "2 x 0.8 x 0.7 mm" in out


def test_info_as_json(make, run):
    code, out, _ = run("info", "--json", make.nifti())
    (row,) = json.loads(out)["volumes"]
    assert code == 0 and row["shape"] == [9, 10, 11] and row["axis_codes"] == "SAR"
    assert row["format"] == "NIfTI-1, gzip" and row["notes"] == []


def test_one_refused_file_is_exit_3_and_one_line(make, run):
    code, out, err = run("info", make.raw(b"<html>", "a.nii.gz"))
    assert code == 3 and out == "" and err.count("\n") == 1
    assert err.startswith("flare-io: ") and "a.nii.gz: not NIfTI" in err


def test_one_of_two_refused_is_exit_4(make, run):
    code, out, err = run("info", make.nifti(name="good.nii"), make.raw(b"", "bad.nii"))
    assert code == 4 and "good.nii" in out and "bad.nii" in err
    code, out, _ = run("info", "--json", make.nifti(name="good.nii"), make.raw(b"", "bad.nii"))
    assert [("error" in row) for row in json.loads(out)["volumes"]] == [False, True]
    code, *_ = run("info", make.raw(b"", "bad.nii"), make.raw(b"", "worse.nii"))
    assert code == 3


def test_options_reach_the_policy(make, run):
    path = make.nifti(sform_code=0)
    code, _, err = run("info", path)
    assert code == 3 and "--assume-orientation" in err
    code, out, _ = run("info", path, "--assume-orientation", "lps")
    assert code == 0 and "SPL" in out and "assumed" in out


def test_check_lists_problems(make, run):
    good, bad = (
        make.nifti(name="good.nii.gz"),
        make.nifti(ct_array((1, 9, 9)), "bad.nii", sform_code=0),
    )
    code, out, _ = run("check", good, bad)
    assert code == 4
    assert "good.nii.gz: no errors" in out and "bad.nii: 2 errors" in out
    code, out, _ = run("check", "--json", bad)
    problems = json.loads(out)["checked"][0]["problems"]
    assert code == 3 and [row["kind"] for row in problems][:2] == ["thin", "orientation"]
    assert run("check", good)[0] == 0
    assert run("check", "--labels", good)[0] == 3


def test_convert_writes_what_it_verified(make, run, tmp_path):
    target = tmp_path / "out.nrrd"
    code, out, _ = run("convert", make.nifti(name="in.nii.gz"), "-o", target)
    assert code == 0 and out.strip() == str(target)
    assert np.array_equal(read_volume(target).array, ct_array())
    assert read_header(target).geometry.axis_codes == "SAR"


def test_convert_never_overwrites_its_input(make, run):
    path = make.nifti()
    before = path.read_bytes()
    code, _, err = run("convert", path, "-o", path, "--canonical")
    assert code == 2 and "would overwrite the input" in err
    assert path.read_bytes() == before


def test_convert_to_canonical_axes(make, run, tmp_path):
    target = tmp_path / "out.nii.gz"
    code, out, _ = run("convert", make.nifti(), "-o", target, "--canonical", "--json")
    assert code == 0 and json.loads(out)["spacing_mm"] == pytest.approx([2.0, 0.8, 0.7])
    assert np.array_equal(read_volume(target).array, ct_array()[:, ::-1, ::-1])


def test_convert_labels_with_sidecars(make, run, tmp_path):
    labels = (np.abs(ct_array()) % 14).astype(np.float32)
    target = tmp_path / "out.nii.gz"
    code, *_ = run(
        "convert", make.nifti(labels), "-o", target, "--labels", "--table", "flare23", "--sidecars"
    )
    assert code == 0 and read_label_map(target).array.dtype == np.uint8
    assert (tmp_path / "out.ctbl").exists() and (tmp_path / "out.itksnap.txt").exists()


def test_convert_notes_what_is_odd(make, run, tmp_path):
    path = make.nifti(ct_array((5, 9, 9)), "case.nii.gz")
    _, out, _ = run("convert", path, "-o", tmp_path / "out.nii")
    assert out.startswith("note: ") and "only 5 voxels along z" in out


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "a.png"],
        ["-o", "a.nii", "--table", "flare23"],
        ["-o", "a.nii", "--sidecars"],
        ["-o", "a.nii", "--max-voxels", "0"],
    ],
)
def test_wrong_usage_is_exit_2(make, run, options):
    code, _, err = run("convert", make.nifti(), *options)
    assert code == 2 and err.startswith("flare-io: ")


def test_nothing_is_written_when_the_input_is_refused(make, run, tmp_path):
    target = tmp_path / "out.nii.gz"
    data = make.nifti(name="in.nii.gz").read_bytes()
    code, *_ = run("convert", make.raw(data[:-4], "in.nii.gz"), "-o", target)
    assert code == 3 and not target.exists()


def test_a_missing_output_folder_is_refused(make, run, tmp_path):
    code, _, err = run("convert", make.nifti(), "-o", tmp_path / "no" / "out.nii.gz")
    assert code == 3 and "No such file" in err


def test_phantom_writes_a_dataset(run, tmp_path):
    code, out, err = run("phantom", "-o", tmp_path / "set", "--preset", "unit", "--cases", "1")
    assert code == 0 and out.strip() == str(tmp_path / "set")
    assert "case 1/2 phantom_0000" in err
    code, out, _ = run("check", tmp_path / "set")
    assert code == 0
    assert run("phantom", "-o", tmp_path / "x", "--preset", "huge")[0] == 2


@pytest.mark.parametrize("argv", [[], ["info"], ["convert", "a.nii"], ["paint"]])
def test_argparse_speaks_for_itself(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2


def test_debug_shows_the_traceback(make, run):
    assert "Traceback" in run("info", "--debug", make.raw(b"", "a.nii"))[2]
