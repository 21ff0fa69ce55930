"""Dataset folders: what is read, what is refused, and every problem at once."""

import json

import numpy as np
import pytest
import SimpleITK

from flare_io.dataset import check_dataset, read_dataset, write_dataset_json
from flare_io.errors import DatasetError
from flare_io.labels import LabelTable

LABELS = {"background": 0, "liver": 1, "spleen": 2}


def write(path, array=None, *, origin=(0.0, 0.0, 0.0), direction=None, spacing=(2.0, 2.0, 5.0)):
    """Write with SimpleITK, so that nothing of ours says what it ought to read."""
    if array is None:
        array = np.zeros((8, 9, 10), np.int16)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


def labels(*values):
    array = np.zeros((8, 9, 10), np.uint8)
    array.ravel()[: len(values)] = values
    return array


def manifest(root, **fields):
    content = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": 1,
        "file_ending": ".nii.gz",
        **fields,
    }
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def raw(tmp_path):
    """One labeled training case and one test case in nnU-Net's layout."""
    write(tmp_path / "imagesTr/case_0000.nii.gz")
    write(tmp_path / "labelsTr/case.nii.gz", labels(1, 2))
    write(tmp_path / "imagesTs/other_0000.nii.gz")
    manifest(tmp_path)
    return tmp_path


def kinds(root):
    return [problem.kind for problem in check_dataset(root)]


def only_problem(root, kind):
    """Check reports this one kind; reading refuses it too if it lies in names or the manifest."""
    problems = check_dataset(root)
    assert [problem.kind for problem in problems] == [kind], [p.describe() for p in problems]
    return problems[0]


def test_reads_nnunet_raw_folder(raw):
    dataset = read_dataset(raw)
    assert [case.id for case in dataset.cases] == ["case", "other"]
    case = dataset.case("case")
    assert case.image == (raw / "imagesTr/case_0000.nii.gz",)
    assert case.label == raw / "labelsTr/case.nii.gz"
    assert case.annotated == {1, 2}
    assert dataset.test[0].annotated is None
    assert dataset.table.id_of("spleen") == 2
    assert dataset.channels == ("CT",)
    assert check_dataset(raw) == []


def test_reads_version_one_manifest(raw):
    stated = {"0": "background", "1": "liver", "2": "spleen"}
    manifest(raw, labels=stated, modality={"0": "CT"})
    dataset = read_dataset(raw)
    assert dataset.table.names == ("liver", "spleen")


def test_reads_regions_and_ignore_label(raw):
    manifest(raw, labels={"background": 0, "whole": [1, 2], "core": 2, "ignore": 3})
    dataset = read_dataset(raw)
    assert dataset.regions == {"whole": (1, 2), "core": (2,)}
    assert dataset.ignore_label == 3
    assert dataset.table.ids == (1, 2)
    assert dataset.table.name_of(2) == "core"
    write(raw / "labelsTr/case.nii.gz", labels(1, 2, 3))
    assert check_dataset(raw) == []


def test_reads_dataset_mapping(tmp_path):
    write(tmp_path / "elsewhere/scan.nii.gz")
    write(tmp_path / "elsewhere/seg.nii.gz", labels(1))
    files = {"images": ["elsewhere/scan.nii.gz"], "label": "elsewhere/seg.nii.gz"}
    manifest(tmp_path, dataset={"a": files})
    case = read_dataset(tmp_path).case("a")
    assert case.image == (tmp_path / "elsewhere/scan.nii.gz",)
    assert case.label == tmp_path / "elsewhere/seg.nii.gz"
    assert check_dataset(tmp_path) == []


@pytest.mark.parametrize("bad", ["../secret.nii.gz", "/etc/secret.nii.gz", "a/../../secret.nii.gz"])
def test_refuses_paths_outside_the_folder(tmp_path, bad):
    root = tmp_path / "set"
    write(tmp_path / "secret.nii.gz")
    root.mkdir()
    manifest(root, dataset={"a": {"images": [bad], "label": None}}, numTraining=0)
    with pytest.raises(DatasetError, match="paths must lie inside the dataset folder, found"):
        read_dataset(root)
    assert "outside" in kinds(root)


def test_refuses_case_names_that_are_paths(tmp_path):
    write(tmp_path / "scan.nii.gz")
    manifest(tmp_path, dataset={"../a": {"images": ["scan.nii.gz"]}}, numTraining=0)
    with pytest.raises(DatasetError, match=r"case names must be plain names, found '\.\./a'"):
        read_dataset(tmp_path)


def test_refuses_pseudo_label_folder_outside(raw):
    manifest(raw, flare={"pseudo_label_sets": {"A": "../a"}})
    assert only_problem(raw, "outside").found == "../a"


def test_listed_files_must_exist(tmp_path):
    manifest(tmp_path, dataset={"a": {"images": ["gone.nii.gz"]}}, numTraining=0)
    assert "is listed but does not exist" in only_problem(tmp_path, "missing-image").describe()


def test_reads_flare_folders_without_manifest(tmp_path):
    write(tmp_path / "images/FLARE23Ts_0001_0000.nii.gz")
    write(tmp_path / "labels/FLARE23Ts_0001.nii.gz", labels(1, 14))
    write(tmp_path / "imagesVal/FLARE23Ts_0002_0000.nii.gz")
    dataset = read_dataset(tmp_path)
    case = dataset.case("FLARE23Ts_0001")
    assert case.label == tmp_path / "labels/FLARE23Ts_0001.nii.gz"
    # Nobody states K, and nothing guesses it.
    assert case.annotated is None
    assert dataset.case("FLARE23Ts_0002").split == "test"
    assert dataset.table.name_of(14) == "tumor"
    assert "no dataset.json" in dataset.notes[0]
    assert only_problem(tmp_path, "no-manifest").severity == "note"


def test_reads_flare_folders_with_numbers(tmp_path):
    write(tmp_path / "imagesTr2200/FLARE23_0001_0000.nii.gz")
    write(tmp_path / "labelsTr2200/FLARE23_0001.nii.gz", labels(1))
    (case,) = read_dataset(tmp_path).train
    assert case.label is not None


def test_k_from_manifest_and_from_presence(raw):
    manifest(raw, flare={"cases": {"case": {"K": [2], "source": "C4"}}})
    write(raw / "labelsTr/case.nii.gz", labels(0))
    case = read_dataset(raw).case("case")
    assert case.annotated == {2}
    assert case.source == "C4"
    # The spleen was looked for and is not there: presence cannot know.
    assert read_dataset(raw, k_source="presence").case("case").annotated == frozenset()
    write(raw / "labelsTr/case.nii.gz", labels(1, 2))
    assert read_dataset(raw, k_source="presence").case("case").annotated == {1, 2}


def test_k_source_is_checked(raw):
    with pytest.raises(ValueError, match="k_source must be 'manifest' or 'presence', got 'guess'"):
        read_dataset(raw, k_source="guess")


def test_written_manifest_is_read_back(raw):
    write(raw / "pseudoA/case.nii.gz", labels(1))
    write(raw / "truthTr/case.nii.gz", labels(1, 2))
    write_dataset_json(
        raw,
        name="mine",
        table=LabelTable.from_names("mine", LABELS),
        cases={
            "case": {"K": [1, 2], "source": "C1", "noise_hu": 20},
            "other": {"K": None, "split": "test"},
        },
        flare={"pseudo_label_sets": {"A": "pseudoA"}, "reference_folder": "truthTr"},
    )
    dataset = read_dataset(raw)
    case = dataset.case("case")
    assert dataset.name == "mine"
    assert dict(case.pseudo_labels) == {"A": raw / "pseudoA/case.nii.gz"}
    assert case.reference == raw / "truthTr/case.nii.gz"
    assert case.annotated == {1, 2}
    assert dataset.manifest["flare"]["cases"]["case"]["noise_hu"] == 20
    assert dataset.manifest["numTraining"] == 1
    assert check_dataset(raw) == []


def test_written_k_must_be_in_the_table(raw):
    table = LabelTable.from_names("mine", LABELS)
    with pytest.raises(ValueError, match=r"K of case 'case' must hold ids of the table, got \[9\]"):
        write_dataset_json(raw, name="mine", table=table, cases={"case": {"K": [1, 9]}})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"origin": (0.0, 0.0, 5.0)}, "5 mm apart"),
        ({"origin": (2.0, 0.0, 0.0)}, "2 mm apart"),
        ({"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, "axes SPL against SAR"),
        ({"array": np.zeros((8, 9, 11), np.uint8)}, "shape (8, 9, 10) against (8, 9, 11)"),
    ],
    ids=["slice", "voxel", "flip", "shape"],
)
def test_b52_label_grid_differs_from_image_grid(raw, change, expected):
    write(raw / "labelsTr/case.nii.gz", **{"array": labels(1), **change})
    problem = next(p for p in check_dataset(raw) if p.kind == "grid")
    assert problem.severity == "error"
    assert expected in problem.found
    assert "case_0000.nii.gz" in problem.rule


def test_b53_values_outside_the_table_with_counts(raw):
    write(raw / "labelsTr/case.nii.gz", labels(1, 7, 7, 9))
    problem = only_problem(raw, "labels")
    assert problem.found == "7 (2 voxels), 9 (1 voxels)"
    assert problem.remedy == "known are 0, 1, 2"


def test_values_that_k_excludes(raw):
    manifest(raw, flare={"cases": {"case": {"K": [1]}}})
    problem = only_problem(raw, "annotated")
    assert problem.found == "2 (1 voxels)"


def test_b56_empty_label_is_a_note(raw):
    write(raw / "labelsTr/case.nii.gz", labels(0))
    assert only_problem(raw, "empty-label").severity == "note"
    assert read_dataset(raw).case("case").label is not None


def test_b56_two_files_for_one_case(raw):
    write(raw / "imagesTr/case_0000.nii")
    with pytest.raises(DatasetError, match=r"a case must have one file, found case_0000\.nii "):
        read_dataset(raw)
    write(raw / "labelsTr/case.nii")
    assert kinds(raw).count("two-files") == 2


def test_b56_missing_channel_number(raw):
    write(raw / "imagesTr/scan.nii.gz")
    with pytest.raises(DatasetError, match=r"must end in .*_0000; rename it to scan_0000.nii.gz"):
        read_dataset(raw)


def test_b56_number_of_the_case_taken_for_a_channel(tmp_path):
    write(tmp_path / "images/patient_0007.nii.gz")
    with pytest.raises(DatasetError, match="if the number belongs to the case's name, add _0000"):
        read_dataset(tmp_path)


def test_b56_names_that_differ_in_letter_case(raw):
    write(raw / "imagesTr/Case_0000.nii.gz")
    problem = only_problem(raw, "letter-case")
    assert problem.found == "'Case' and 'case'"


def test_b56_spaces_and_unicode_in_names(tmp_path):
    root = tmp_path / "Bauch CT é 腹部"
    write(tmp_path / "plain_0000.nii.gz")
    write(tmp_path / "plain.nii.gz", labels(1))
    for folder, name, plain in (
        ("imagesTr", "Fräulein Ü 01_0000.nii.gz", "plain_0000.nii.gz"),
        ("labelsTr", "Fräulein Ü 01.nii.gz", "plain.nii.gz"),
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / name).write_bytes((tmp_path / plain).read_bytes())
    manifest(root)
    assert [case.id for case in read_dataset(root).cases] == ["Fräulein Ü 01"]
    assert check_dataset(root) == []


def test_label_without_image(raw):
    write(raw / "labelsTr/ghost.nii.gz", labels(1))
    problem = next(p for p in check_dataset(raw) if p.kind == "missing-image")
    assert problem.remedy == "expected an image named ghost_0000.nii.gz"


def test_all_problems_at_once(raw):
    write(raw / "imagesTr/scan.nii.gz")
    write(raw / "labelsTr/ghost.nii.gz", labels(1))
    write(raw / "labelsTr/case.nii.gz", labels(9), origin=(0.0, 0.0, 5.0))
    (raw / "imagesTs/other_0000.nii.gz").write_bytes(b"<html>")
    manifest(raw, numTraining=5)
    found = kinds(raw)
    assert {"no-channel", "missing-image", "grid", "labels", "count"} < set(found)
    assert len(found) == 6
    with pytest.raises(DatasetError, match=r"1 more: flare-io check"):
        read_dataset(raw)


def test_channels_must_be_complete_and_on_one_grid(raw):
    manifest(raw, channel_names={"0": "T1", "1": "T2"})
    assert kinds(raw) == ["channels", "channels"]
    write(raw / "imagesTr/case_0001.nii.gz", origin=(0.0, 0.0, 5.0))
    write(raw / "imagesTs/other_0001.nii.gz")
    assert only_problem(raw, "grid").found.endswith("5 mm apart")
    assert len(read_dataset(raw).case("case").image) == 2


def test_more_channels_than_stated(raw):
    write(raw / "imagesTr/case_0001.nii.gz")
    assert only_problem(raw, "channels").rule == "dataset.json names 1 channel(s)"


def test_ending_that_the_manifest_does_not_state(raw):
    write(raw / "imagesTr/scan_0000.mha")
    assert only_problem(raw, "ending").found == "'scan_0000.mha'"


def test_cases_of_the_manifest_need_images(raw):
    manifest(raw, flare={"cases": {"ghost": {"K": [1]}, "case": {"K": [1, 2]}}})
    assert "names case 'ghost'" in only_problem(raw, "missing-image").rule


def test_k_of_the_manifest_must_be_known(raw):
    manifest(raw, flare={"cases": {"case": {"K": [1, 2, 8]}}})
    assert only_problem(raw, "labels").found == "[8]"


def test_case_in_training_and_test(raw):
    write(raw / "imagesTs/case_0000.nii.gz")
    assert only_problem(raw, "leak").severity == "note"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        ("[]", "must be a JSON object, found list"),
        ('{"labels": {}}', "labels must map names to ids"),
        ('{"labels": {"liver": -1}}', "labels must map names to ids"),
        ('{"labels": {"liver": "x"}}', "labels must map names to ids"),
        ('{"labels": {"liver": 1}, "flare": []}', "must be objects"),
        ('{"labels": {"liver": 1}, "flare": {"cases": {"case": {"K": 3}}}}', "K a list of ids"),
    ],
)
def test_broken_manifests(raw, text, message):
    (raw / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_dataset(raw)
    assert any(message in problem.describe() for problem in check_dataset(raw))


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no cases; expected imagesTr/CASE_0000\.nii\.gz"):
        read_dataset(tmp_path)
    assert check_dataset(tmp_path / "none")[0].kind == "missing"


def test_hidden_files_are_no_cases(raw):
    write(raw / "imagesTr/._case_0000.nii.gz")
    (raw / "imagesTr/notes.txt").write_text("not a volume")
    assert check_dataset(raw) == []


def test_problem_record(raw):
    write(raw / "imagesTr/scan.nii.gz")
    record = check_dataset(raw)[0].record()
    assert record["severity"] == "error"
    assert record["kind"] == "no-channel"
    json.dumps(record)


def test_unknown_case(raw):
    with pytest.raises(KeyError, match="holds no case 'x'"):
        read_dataset(raw).case("x")
