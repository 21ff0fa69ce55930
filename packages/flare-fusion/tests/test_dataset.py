"""Fusing a dataset folder: referees, K, grids, resuming, and one bad case costing one case."""

import json

import numpy as np
import pytest

from flare_fusion.dataset import fuse_dataset
from flare_fusion.engine import fuse
from flare_fusion.plan import FusionSettings
from flare_io.dataset import write_dataset_json
from flare_io.errors import DatasetError
from flare_io.files import read_label_map, write_label_map, write_volume
from flare_io.geometry import Geometry
from flare_io.labels import label_table
from flare_io.volume import Volume

SHAPE = (5, 9, 8)
GRID = Geometry((2.5, 0.8, 0.8), origin=(10.0, -20.0, 5.0))


def labels(seed, highest=13):
    return np.random.default_rng(seed).integers(0, highest + 1, SHAPE, dtype=np.uint8)


def write_labels(folder, case, array, geometry=GRID):
    folder.mkdir(parents=True, exist_ok=True)
    write_label_map(Volume(array, geometry), folder / f"{case}.nii.gz")


PARTIAL = np.where(np.isin(labels(3, 14), (1, 2, 14)), labels(3, 14), 0).astype(np.uint8)
MAPS = {
    "partial": {"labeled": PARTIAL},
    "A": {"labeled": labels(1), "unlabeled": labels(4)},
    "B": {"labeled": labels(2), "unlabeled": labels(5)},
}


@pytest.fixture
def dataset(tmp_path):
    """Return a dataset with a labeled case of K = {1, 2, 9, 14} and an unlabeled one."""
    root = tmp_path / "data"
    (root / "imagesTr").mkdir(parents=True)
    for case in ("labeled", "unlabeled"):
        image = np.random.default_rng(9).integers(-1000, 1000, SHAPE).astype(np.int16)
        write_volume(Volume(image, GRID), root / "imagesTr" / f"{case}_0000.nii.gz")
    for role, folder in (("partial", "labelsTr"), ("A", "pseudoA"), ("B", "pseudoB")):
        for case, array in MAPS[role].items():
            write_labels(root / folder, case, array)
    write_dataset_json(
        root,
        name="small",
        table=label_table("flare23"),
        cases={"labeled": {"K": [1, 2, 9, 14]}, "unlabeled": {"K": None}},
        flare={"pseudo_label_sets": {"A": "pseudoA", "B": "pseudoB"}},
    )
    return root


def sources(case, **more):
    known = {name: maps[case] for name, maps in MAPS.items() if case in maps}
    return {"partial": np.zeros(SHAPE, np.uint8), **known, **more}


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


def test_the_datasets_own_labels_are_never_replaced(dataset):
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="would replace the dataset's own"):
        fuse_dataset(dataset, dataset)
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before
