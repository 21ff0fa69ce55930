"""Fusing a dataset folder: referees, K, grids, resuming, and one bad case costing one case."""

import json

import numpy as np
import pytest

from flare_fusion.case_fusion import forget
from flare_fusion.dataset import fuse_dataset
from flare_fusion.engine import fuse
from flare_fusion.plan import FusionSettings
from flare_io.dataset import check_dataset, read_dataset
from flare_io.errors import DatasetError
from flare_io.files import read_header, read_label_map, read_volume, write_volume
from flare_io.geometry import Geometry
from flare_io.volume import Volume

from .small_dataset import GRID, MAPS, PARTIAL, SHAPE, labels, sources, write_labels


def fused(result, case):
    return read_label_map(result.label_maps[case])


def test_s1_takes_the_partial_label_as_referee_and_none_where_there_is_none(dataset, tmp_path):
    result = fuse_dataset(dataset, tmp_path / "out")
    assert not result.failed
    for case in ("labeled", "unlabeled"):
        volume = fused(result, case)
        expected = fuse(sources(case), rule="s1-labeled").label_map
        assert (volume.array == expected).all()
        assert volume.array.dtype == np.uint8
        np.testing.assert_allclose(volume.geometry.affine, GRID.affine, atol=1e-5)
    rows = {row.case: row for row in result.cases}
    assert rows["unlabeled"].sources["partial"] == "none"
    assert rows["labeled"].sources["partial"].endswith("labelsTr/labeled.nii.gz")


def test_unlabeled_cases_take_three_own_label_maps_where_given(dataset, tmp_path):
    own = {f"T{k}": labels(20 + k, 14) for k in (1, 2, 3)}
    for name, array in own.items():
        write_labels(tmp_path / name, "unlabeled", array)
    folders = {name: tmp_path / name for name in own}
    result = fuse_dataset(dataset, tmp_path / "out", sources=folders)
    maps = sources("unlabeled", **own)
    del maps["partial"]
    assert (fused(result, "unlabeled").array == fuse(maps, rule="s1-unlabeled").label_map).all()
    assert {row.case: row.rule for row in result.cases} == {
        "labeled": "s1-labeled",
        "unlabeled": "s1-unlabeled",
    }


def test_k_comes_from_the_manifest_or_on_request_from_the_file(dataset, tmp_path):
    maps = {"partial": PARTIAL, "pseudo": MAPS["B"]["labeled"]}
    for k_source, annotated in (("manifest", {1, 2, 9, 14}), ("presence", {1, 2, 14})):
        result = fuse_dataset(
            dataset,
            tmp_path / k_source,
            rule="s2-replace",
            settings=FusionSettings(k_source=k_source),
        )
        expected = fuse(maps, rule="s2-replace", annotated=annotated).label_map
        found = fused(result, "labeled").array
        assert (found == expected).all()
        # Class 9 was looked for and is absent: only the manifest knows.
        assert (9 in found) == (k_source == "presence")
        assert (fused(result, "unlabeled").array == MAPS["B"]["unlabeled"]).all()


def test_options_and_majority(dataset, tmp_path):
    tied = fuse_dataset(dataset, tmp_path / "tie", options={"tie": "B"})
    expected = fuse(sources("unlabeled"), rule="s1-labeled", tie="B").label_map
    assert (fused(tied, "unlabeled").array == expected).all()
    majority = fuse_dataset(dataset, tmp_path / "most", rule="majority", options={"tie": "first"})
    assert (fused(majority, "labeled").array == MAPS["A"]["labeled"]).all()


def test_the_report_holds_volumes_and_origins(dataset, tmp_path):
    fuse_dataset(dataset, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["rule"] == "s1"
    assert report["cases"] == {"done": 2, "kept": 0, "failed": 0}
    row = report["results"][0]
    assert row["case"] == "labeled"
    assert sum(row["origins"].values()) == np.prod(SHAPE)
    assert row["origins"]["tumor"] == (PARTIAL == 14).sum()
    assert row["volumes_ml"]["14"] == pytest.approx((PARTIAL == 14).sum() * 2.5 * 0.8 * 0.8 / 1000)


def statuses(result):
    return {row.case: row.status for row in result.cases}


def test_a_second_run_keeps_what_is_done_and_only_that(dataset, tmp_path):
    out = tmp_path / "out"
    first = fuse_dataset(dataset, out)
    before = {case: path.read_bytes() for case, path in first.label_maps.items()}
    assert statuses(fuse_dataset(dataset, out)) == {"labeled": "kept", "unlabeled": "kept"}

    # Another source, a damaged output, another option: each is done again.
    write_labels(dataset / "pseudoA", "labeled", labels(77))
    assert statuses(fuse_dataset(dataset, out)) == {"labeled": "done", "unlabeled": "kept"}
    write_labels(dataset / "pseudoA", "labeled", MAPS["A"]["labeled"])
    (out / "labelsTr" / "unlabeled.nii.gz").write_bytes(b"torn")
    again = fuse_dataset(dataset, out)
    assert statuses(again) == {"labeled": "done", "unlabeled": "done"}
    assert {case: path.read_bytes() for case, path in again.label_maps.items()} == before
    (out / "records" / "labeled.json").write_text("{")
    assert statuses(fuse_dataset(dataset, out))["labeled"] == "done"
    assert set(statuses(fuse_dataset(dataset, out, options={"tie": "A"})).values()) == {"done"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_bad_case_costs_one_case(dataset, tmp_path, jobs):
    path = dataset / "pseudoA" / "labeled.nii.gz"
    path.write_bytes(path.read_bytes()[:-5])
    result = fuse_dataset(dataset, tmp_path / "out", jobs=jobs)
    assert statuses(result) == {"labeled": "failed", "unlabeled": "done"}
    assert "pseudoA/labeled.nii.gz" in result.failed[0].error["source"]
    assert [path.name for path in (tmp_path / "out" / "labelsTr").iterdir()] == ["unlabeled.nii.gz"]


@pytest.mark.parametrize(
    ("geometry", "array", "message"),
    [
        (Geometry((2.5, 0.8, 0.8), origin=(12.5, -20.0, 5.0)), labels(1), "2.5 mm apart"),
        (GRID, labels(1)[:4], r"shape (5, 9, 8) against (4, 9, 8)"),
    ],
    ids=["moved", "shape"],
)
def test_a_source_on_another_grid_is_refused_with_the_difference(
    dataset, tmp_path, geometry, array, message
):
    write_labels(dataset / "pseudoA", "labeled", array, geometry)
    error = fuse_dataset(dataset, tmp_path / "out").failed[0].error
    assert message in error["found"]
    assert error["rule"] == "source A must lie on the image's grid"


def test_missing_sources_are_named(dataset, tmp_path):
    (dataset / "pseudoB" / "labeled.nii.gz").unlink()
    error = fuse_dataset(dataset, tmp_path / "out").failed[0].error
    assert error["rule"] == "case has no source B"
    assert error["remedy"] == "name its folder with --source B=DIR"
    (tmp_path / "C").mkdir()
    result = fuse_dataset(dataset, tmp_path / "out", sources={"B": tmp_path / "C"})
    assert [row.error["rule"] for row in result.failed] == [
        "source B has no label map of case labeled",
        "source B has no label map of case unlabeled",
    ]


def test_labels_outside_the_rule_fail_the_case(dataset, tmp_path):
    write_labels(dataset / "pseudoA", "labeled", np.full(SHAPE, 14, np.uint8))
    error = fuse_dataset(dataset, tmp_path / "out").failed[0].error
    assert "source A must hold only the labels 0 to 13, found 14" in error["rule"]


def test_what_is_wrong_with_the_call_is_said_before_any_work(dataset, tmp_path):
    with pytest.raises(ValueError, match="rule must be s1-labeled"):
        fuse_dataset(dataset, tmp_path / "out", rule="s7")
    with pytest.raises(ValueError, match="no option 'ties'"):
        fuse_dataset(dataset, tmp_path / "out", options={"ties": "A"})
    with pytest.raises(ValueError, match="k_source must be"):
        fuse_dataset(dataset, tmp_path / "out", settings=FusionSettings(k_source="guess"))
    with pytest.raises(DatasetError, match="source A must be a folder"):
        fuse_dataset(dataset, tmp_path / "out", sources={"A": tmp_path / "gone"})
    with pytest.raises(DatasetError, match="gone"):
        fuse_dataset(tmp_path / "gone", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_datasets_own_labels_are_never_replaced(dataset, tmp_path):
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="would replace the dataset's own"):
        fuse_dataset(dataset, dataset)
    # The folder whose labelsTr is a source would be written into.
    moved = tmp_path / "other" / "labelsTr"
    moved.parent.mkdir()
    (dataset / "pseudoA").rename(moved)
    with pytest.raises(ValueError, match="would replace source A's own; name another folder"):
        fuse_dataset(dataset, moved.parent, sources={"A": moved})
    moved.rename(dataset / "pseudoA")
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before


def test_the_result_is_a_dataset_that_states_what_was_looked_for(dataset, tmp_path):
    fuse_dataset(dataset, tmp_path / "out")
    assert [str(problem) for problem in check_dataset(tmp_path / "out")] == []
    read = read_dataset(tmp_path / "out")
    organs = frozenset(range(1, 14))
    # Only the annotators of the labeled case looked for tumors.
    assert read.case("labeled").annotated == organs | {14}
    assert read.case("unlabeled").annotated == organs
    assert read.manifest["flare"]["cases"]["labeled"]["K_partial"] == [1, 2, 9, 14]
    assert read.manifest["flare"]["fusion"]["rule"] == "s1"
    for case in read.train:
        assert case.image[0].resolve() == dataset / "imagesTr" / f"{case.id}_0000.nii.gz"


def test_links_hold_when_both_folders_move(dataset, tmp_path):
    fuse_dataset(dataset, tmp_path / "out")
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "out").rename(moved / "out")
    dataset.rename(moved / "data")
    assert read_header(moved / "out" / "imagesTr" / "labeled_0000.nii.gz").shape == SHAPE


def test_without_links_the_images_are_copied(dataset, tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError("no links on this disk")

    monkeypatch.setattr("os.symlink", refuse)
    fuse_dataset(dataset, tmp_path / "hard")
    monkeypatch.setattr("os.link", refuse)
    fuse_dataset(dataset, tmp_path / "copied")
    original = (dataset / "imagesTr" / "labeled_0000.nii.gz").read_bytes()
    for name in ("hard", "copied"):
        image = tmp_path / name / "imagesTr" / "labeled_0000.nii.gz"
        assert not image.is_symlink()
        assert image.read_bytes() == original
        assert len(list(image.parent.iterdir())) == 2


def test_images_of_two_endings_are_refused(dataset, tmp_path):
    image = dataset / "imagesTr" / "labeled_0000.nii.gz"
    write_volume(read_volume(image), image.with_name("labeled_0000.mha"))
    image.unlink()
    (dataset / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"must share one of the endings .*found .mha, .nii.gz"):
        fuse_dataset(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fused_labels_take_the_ending_of_the_images(dataset, tmp_path):
    for image in list((dataset / "imagesTr").iterdir()):
        write_volume(read_volume(image), image.with_name(image.name.replace(".nii.gz", ".mha")))
        image.unlink()
    (dataset / "dataset.json").unlink()
    folders = {name: dataset / f"pseudo{name}" for name in "AB"}
    result = fuse_dataset(dataset, tmp_path / "out", sources=folders)
    assert result.label_maps["labeled"].name == "labeled.mha"
    assert [str(problem) for problem in check_dataset(tmp_path / "out")] == []


def test_provenance_is_written_on_request(dataset, tmp_path):
    settings = FusionSettings(provenance=True)
    result = fuse_dataset(dataset, tmp_path / "out", settings=settings)
    row = result.cases[0]
    found = read_label_map(tmp_path / "out" / row.provenance)
    expected = fuse(sources("labeled"), rule="s1-labeled", provenance=True).provenance
    assert (found.array == expected).all()
    manifest = read_dataset(tmp_path / "out").manifest["flare"]
    assert manifest["provenance_folder"] == "provenanceTr"
    assert manifest["origins"]["5"] == "vote"
    # Asked for or not is another making, and what is not asked for does not stay.
    again = fuse_dataset(dataset, tmp_path / "out")
    assert statuses(again) == {"labeled": "done", "unlabeled": "done"}
    assert list((tmp_path / "out" / "provenanceTr").iterdir()) == []


FLIPPED = Geometry(
    GRID.spacing_mm,
    # The last row becomes the first: 8 steps of 0.8 mm further along P.
    origin=(10.0, -20.0 + 8 * 0.8, 5.0),
    direction=((1, 0, 0), (0, -1, 0), (0, 0, 1)),
)


def test_another_axis_order_is_refused_or_brought_over_when_asked(dataset, tmp_path):
    write_labels(dataset / "pseudoA", "labeled", MAPS["A"]["labeled"][:, ::-1], FLIPPED)
    refused = fuse_dataset(dataset, tmp_path / "refused").failed[0].error
    assert "6.4 mm apart, axes SPL against SAL" in refused["found"]
    assert "--resample" in refused["remedy"]
    asked = FusionSettings(resample=True)
    result = fuse_dataset(dataset, tmp_path / "out", settings=asked)
    expected = fuse(sources("labeled"), rule="s1-labeled").label_map
    assert (fused(result, "labeled").array == expected).all()
    (note,) = result.cases[0].notes
    assert note.startswith("source A was brought over from another grid, nearest neighbor: voxel")
    assert "lie outside" not in note
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["results"][0]["notes"] == [note]
    assert report["resample"] is True


def test_only_the_cases_asked_for_are_fused(dataset, tmp_path):
    fuse_dataset(dataset, tmp_path / "out")
    chosen = FusionSettings(cases=["unlabeled"])
    result = fuse_dataset(dataset, tmp_path / "out", settings=chosen)
    assert statuses(result) == {"unlabeled": "kept"}
    # What belongs to no case of this run is gone: nobody could tell how it was made.
    for folder in ("labelsTr", "records", "imagesTr"):
        names = [
            path.name.split(".")[0].split("_")[0] for path in (tmp_path / "out" / folder).iterdir()
        ]
        assert names == ["unlabeled"]
    assert [case.id for case in read_dataset(tmp_path / "out").train] == ["unlabeled"]
    with pytest.raises(DatasetError, match="no training case 'nobody', found 1 of 2 cases"):
        lacking = FusionSettings(cases=["nobody", "labeled"])
        fuse_dataset(dataset, tmp_path / "out", settings=lacking)
    with pytest.raises(DatasetError, match="no case was asked for"):
        fuse_dataset(dataset, tmp_path / "out", settings=FusionSettings(cases=[]))


def test_a_case_that_fails_leaves_nothing_of_an_earlier_run(dataset, tmp_path):
    fuse_dataset(dataset, tmp_path / "out", settings=FusionSettings(provenance=True))
    path = dataset / "pseudoB" / "labeled.nii.gz"
    path.write_bytes(path.read_bytes()[:-5])
    result = fuse_dataset(dataset, tmp_path / "out", settings=FusionSettings(provenance=True))
    assert statuses(result) == {"labeled": "failed", "unlabeled": "kept"}
    left = [path.name for path in (tmp_path / "out").rglob("labeled*")]
    assert left == []
    assert [case.id for case in read_dataset(tmp_path / "out").train] == ["unlabeled"]


def test_a_name_that_begins_like_another_is_left_alone(tmp_path):
    for name in ("labelsTr", "records"):
        (tmp_path / name).mkdir()
    for name in ("labelsTr/a.nii.gz", "labelsTr/a.1.nii.gz", "labelsTr/ab.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "records" / "a.json").write_text("{}")
    forget("a", tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.1.nii.gz", "ab.nii.gz"]


def test_nothing_half_written_when_the_disk_is_full(dataset, tmp_path, monkeypatch):
    def full(operation):
        if operation == "flush":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("flare_io.atomic.failpoint", full)
    with pytest.raises(OSError, match="No space left"):
        fuse_dataset(dataset, tmp_path / "out", jobs=1)
    left = [p for p in (tmp_path / "out").rglob("*") if p.is_file() and not p.is_symlink()]
    assert left == []


def test_every_option_of_the_making_counts_when_a_run_is_taken_up(dataset, tmp_path):
    out = tmp_path / "out"
    fuse_dataset(dataset, out, rule="s2-replace")
    assert set(statuses(fuse_dataset(dataset, out, rule="s2-replace")).values()) == {"kept"}
    # K is part of the making.
    manifest = json.loads((dataset / "dataset.json").read_text())
    manifest["flare"]["cases"]["labeled"]["K"] = [1, 2, 14]
    (dataset / "dataset.json").write_text(json.dumps(manifest))
    assert statuses(fuse_dataset(dataset, out, rule="s2-replace")) == {
        "labeled": "done",
        "unlabeled": "kept",
    }
    for settings in (FusionSettings(k_source="presence"), FusionSettings(resample=True)):
        again = fuse_dataset(dataset, out, rule="s2-replace", settings=settings)
        assert set(statuses(again).values()) == {"done"}
    (out / "dataset.json").unlink()
    assert set(
        statuses(fuse_dataset(dataset, out, rule="s2-replace", settings=settings)).values()
    ) == {"kept"}
    assert (out / "dataset.json").exists()


def test_k_that_nobody_states_is_an_error_only_where_a_rule_asks(dataset, tmp_path):
    (dataset / "dataset.json").unlink()
    folders = {"pseudo": dataset / "pseudoB"}
    result = fuse_dataset(dataset, tmp_path / "out", rule="s2-replace", sources=folders)
    assert statuses(result) == {"labeled": "failed", "unlabeled": "done"}
    error = result.failed[0].error
    assert error["kind"] == "no-k"
    assert error["rule"].endswith("the classes that the case's annotators looked for (K)")
    assert "--k-source presence" in error["remedy"]
    settings = FusionSettings(k_source="presence")
    folders |= {name: dataset / f"pseudo{name}" for name in "AB"}
    for rule, chosen in (("s2-replace", settings), ("s2-overlay", None), ("s1", None)):
        again = fuse_dataset(dataset, tmp_path / rule, rule=rule, sources=folders, settings=chosen)
        assert not again.failed


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full(SHAPE, 0.5, np.float32), "must be whole numbers"),
        (np.full(SHAPE, -3, np.int16), "-3"),
        (np.full(SHAPE, np.nan, np.float32), "nan"),
    ],
    ids=["fractions", "negative", "nan"],
)
def test_values_that_are_no_labels_fail_the_case(dataset, tmp_path, array, message):
    write_volume(Volume(array, GRID), dataset / "pseudoA" / "labeled.nii.gz")
    result = fuse_dataset(dataset, tmp_path / "out")
    assert statuses(result) == {"labeled": "failed", "unlabeled": "done"}
    error = result.failed[0].error
    assert error["source"].endswith("pseudoA/labeled.nii.gz")
    assert message in f"{error['rule']} {error['found']}".lower()


def test_a_fused_label_outside_the_datasets_table_fails_the_case(dataset, tmp_path):
    manifest = json.loads((dataset / "dataset.json").read_text())
    del manifest["labels"]["tumor"]
    for row in manifest["flare"]["cases"].values():
        row["K"] = row["K"] and [1, 2, 9]
    (dataset / "dataset.json").write_text(json.dumps(manifest))
    result = fuse_dataset(dataset, tmp_path / "out")
    assert statuses(result) == {"labeled": "failed", "unlabeled": "done"}
    assert "14" in result.failed[0].error["found"]


def test_a_rule_of_any_sources_takes_folders_in_their_order(dataset, tmp_path):
    options = {"tie": "first"}
    folders = {"B": dataset / "pseudoB", "A": dataset / "pseudoA"}
    result = fuse_dataset(
        dataset, tmp_path / "out", rule="majority", sources=folders, options=options
    )
    assert (fused(result, "labeled").array == MAPS["B"]["labeled"]).all()
    (dataset / "dataset.json").unlink()
    alone = fuse_dataset(dataset, tmp_path / "one", rule="majority", sources={"A": folders["A"]})
    assert {row.error["rule"] for row in alone.failed} == {
        "rule majority needs at least two sources"
    }
