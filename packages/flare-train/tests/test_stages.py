"""What the kinds of stages do, each on the same few phantoms."""

import json
import shutil

import numpy as np
import pytest

from flare_infer.model import read_model
from flare_io.dataset import read_dataset
from flare_io.files import read_label_map, read_volume, write_label_map
from flare_train.stages.graph import Stage
from flare_train.stages.kinds import read_settings, stage_inputs
from flare_train.stages.runner import run_graph
from flare_train.stages.train import fold_of
from flare_train.stages.worker import StageError
from flare_train.store import read_stored_case

CT = {"scheme": "ct", "mean": -160.0, "std": 100.0, "low": -160.0, "high": 240.0}
PREPROCESSING = {"spacing_mm": [18.0, 14.0, 14.0], "crop": "none", "intensities": [CT]}
CONFIG = {
    "net": {
        "architecture": "plain",
        "features": [4, 8],
        "kernels": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "convs": [1, 1],
        "decoder_convs": [1],
    },
    "patch": [16, 24, 24],
    "epochs": 2,
    "iterations_per_epoch": 2,
    "validate_every": 0,
    "loss": {"partial": "naive"},
}
ORGANS = [1, 2, 3, 11]


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return read_dataset(phantom_folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory, phantom_folder):
    """Return a function that runs stages on the phantoms; all of them share a folder."""
    folder = tmp_path_factory.mktemp("run")

    def run_stages(data=phantom_folder, **tables):
        tables = {"data": {"kind": "dataset", "path": str(data)}, **tables}
        stages = []
        for name, table in tables.items():
            plain = {key: value for key, value in table.items() if key != "kind"}
            settings = read_settings(table["kind"], plain, name=name)
            stages.append(
                Stage(name=name, kind=table["kind"], settings=plain, inputs=stage_inputs(settings))
            )
        return run_graph(stages, folder)

    return run_stages


def prepared(**more):
    plain = {"kind": "prepare", "labels": [{"source": "data"}], "preprocessing": PREPROCESSING}
    return {**plain, **more}


def trained(**more):
    config = {**CONFIG, **more.pop("config", {})}
    return {"kind": "train", "store": "cases", "classes": [*ORGANS, 14], "config": config, **more}


def stored(result, id):
    return read_stored_case(result.folder / "store", id)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, {0, 1, 2, 3, 4, 5}),
        ({"labeled": "yes"}, {0, 2, 4, 5}),
        ({"labeled": "no"}, {1, 3}),
        # Centers of the first six: C0, C7, C1, C7, C2, C8.
        ({"annotated": [14]}, {2, 4, 5}),
        ({"unannotated": [14], "labeled": "yes"}, {0}),
        ({"organs": ORGANS, "least_organs": 4}, {0, 5}),
        ({"annotated": ORGANS}, {0, 5}),
        ({"first": 2}, {0, 1}),
        ({"by": "agreement", "threshold": 0.0, "first_labeled": 1, "first_unlabeled": 1}, {0, 1}),
    ],
)
def test_selection(run, conditions, expected):
    results = run(some={"kind": "select", **conditions})
    assert results["some"].values["cases"] == [f"phantom_{k:04d}" for k in sorted(expected)]


def test_selection_by_what_a_label_map_shows(run, dataset):
    shown = {
        case.id
        for case in dataset.train
        if case.label is not None and 14 in np.unique(read_label_map(case.label).array)
    }
    results = run(some={"kind": "select", "shown": [14]})
    assert set(results["some"].values["cases"]) == shown


def test_selection_of_nothing_is_refused(run):
    with pytest.raises(StageError, match="no case of 6 fits the selection 'some'") as caught:
        run(some={"kind": "select", "annotated": [10]})
    assert caught.value.exit_code == 3


def test_store_of_partial_labels_has_their_k(run, dataset):
    cases = run(cases=prepared())["cases"]
    assert cases.values["cases"] == [f"phantom_000{k}" for k in (0, 2, 4, 5)]
    for id in cases.values["cases"]:
        assert stored(cases, id).annotated == dataset.case(id).annotated


def test_kept_classes(run, dataset):
    cases = run(cases=prepared(keep=[14]))["cases"]
    for id in cases.values["cases"]:
        whole = read_label_map(dataset.case(id).label).array
        np.testing.assert_array_equal(stored(cases, id).labels[:], np.where(whole == 14, 14, 0))
        assert stored(cases, id).annotated == dataset.case(id).annotated & {14}


def test_cases_without_labels_for_pretraining(run):
    cases = run(cases=prepared(labels=[], unlabeled=True))["cases"]
    assert len(cases.values["cases"]) == 6
    assert all(not stored(cases, id).annotated for id in cases.values["cases"])


def test_fused_labels_bring_k_and_origins(run):
    results = run(
        fused={"kind": "fuse", "rule": "s1", "provenance": True},
        cases=prepared(labels=[{"source": "fused"}], origins=True),
    )
    assert len(results["fused"].values["cases"]) == 6
    unlabeled = stored(results["cases"], "phantom_0001")
    assert unlabeled.annotated >= set(ORGANS)
    assert 14 not in unlabeled.annotated
    assert unlabeled.origins is not None


def test_fusion_of_chosen_cases(run):
    results = run(
        some={"kind": "select", "labeled": "no"},
        fused={"kind": "fuse", "rule": "s1", "cases": "some"},
    )
    assert results["fused"].values["cases"] == ["phantom_0001", "phantom_0003"]


def test_intensities_are_measured_or_taken_over(run, dataset):
    bare = {"spacing_mm": [18.0, 14.0, 14.0], "crop": "none"}
    results = run(
        cases=prepared(preprocessing=bare),
        images=prepared(labels=[], unlabeled=True, preprocessing=bare, intensities_of="cases"),
    )
    intensities = results["cases"].values["preprocessing"]["intensities"]
    assert results["images"].values["preprocessing"]["intensities"] == intensities
    values = []
    for case in dataset.train:
        if case.label is not None:
            image, labels = read_volume(case.image[0]).array, read_label_map(case.label).array
            values.append(image[labels > 0].astype(np.float64))
    # Every case weighs the same.
    assert intensities[0]["mean"] == pytest.approx(np.mean([v.mean() for v in values]), rel=1e-3)
    assert (results["cases"].folder / "fingerprint.json").is_file()


@pytest.fixture(scope="module")
def nets(run):
    """Return results with two trained nets, their ensemble, an overlay, predictions of each."""
    tables = {
        "cases": prepared(),
        "first": trained(config={"snapshot_every": 1, "keep_snapshots": 2}),
        "second": trained(config={"seed": 1}),
        "lesion": trained(classes=[14]),
        "lesion-cases": prepared(keep=[14]),
        "both": {
            "kind": "model",
            "members": ["first", "second"],
            "over": "lesion",
            "over_labels": [14],
            "windows": {"step": 1.0},
        },
        "labels": {"kind": "predict", "model": "first", "cases": "train"},
        "earlier": {"kind": "predict", "model": "first", "cases": "train", "snapshot": 2},
        "tests": {"kind": "predict", "model": "both", "cases": "test"},
        "scores": {"kind": "score", "predictions": "tests"},
    }
    tables["lesion"]["store"] = "lesion-cases"
    return tables, run(**tables)


def test_trained_models(nets):
    _, results = nets
    assert results["first"].values["snapshots"] == ["snapshots/1", "snapshots/2"]
    assert results["second"].values["snapshots"] == []
    end = read_model(results["first"].folder / "model")
    newest = read_model(results["first"].folder / "snapshots" / "1")
    before = read_model(results["first"].folder / "snapshots" / "2")
    assert end.weights_sha256 == newest.weights_sha256 != before.weights_sha256
    assert end.labels.names == ("liver", "kidneys", "spleen", "stomach", "tumor")


def test_ensemble_with_an_overlay(nets):
    _, results = nets
    model = read_model(results["both"].folder / "model")
    assert (model.members, model.spec.windows.step) == (2, 1.0)
    assert (results["both"].folder / "model" / "overlays" / "lesion").is_dir()


def test_members_must_be_alike(nets, run):
    tables, _ = nets
    with pytest.raises(StageError, match="lesion: members of an ensemble must have one net"):
        run(**tables, mixed={"kind": "model", "members": ["first", "lesion"]})


def test_predictions_of_every_case(nets, dataset):
    _, results = nets
    for name, cases in (("labels", dataset.train), ("tests", dataset.test)):
        assert results[name].values["failed"] == {}
        for case in cases:
            predicted = read_label_map(results[name].folder / "labels" / f"{case.id}.nii.gz")
            assert predicted.shape == (16, 24, 24)
        assert results[name].values["seconds_per_case"] > 0


def test_too_few_snapshots(nets, run):
    tables, _ = nets
    wrong = {"kind": "predict", "model": "first", "snapshot": 3}
    with pytest.raises(StageError, match="one of the 2 that stage first kept, got 3"):
        run(**tables, wrong=wrong)


def test_predicted_labels_fill_in_where_there_are_none(nets, run):
    tables, _ = nets
    first = {"source": "data"}
    second = {"source": "labels", "shows": ORGANS}
    results = run(**tables, more=prepared(labels=[first, second]))
    more = results["more"]
    assert len(more.values["cases"]) == 6
    assert stored(more, "phantom_0001").annotated == set(ORGANS)
    assert stored(more, "phantom_0004").annotated == {2, 14}


def test_selection_by_stability(nets, run):
    tables, _ = nets
    stable = {"kind": "select", "by": "stability", "rounds": ["earlier", "labels"], "drop": 1}
    chosen = run(**tables, stable=stable)["stable"].values
    least = max(chosen["figures"], key=chosen["figures"].get)
    assert set(chosen["figures"]) - set(chosen["cases"]) == {least}


def test_scores_are_a_table(nets):
    _, results = nets
    values = results["scores"].values
    assert set(values["table"]["labels"]) == {"liver", "kidneys", "spleen", "stomach", "tumor"}
    assert values["cases"] == 2
    assert (results["scores"].folder / "scores" / "report.html").is_file()


def test_scores_of_some_labels(nets, run):
    tables, _ = nets
    table = run(**tables, some={"kind": "score", "predictions": "tests", "labels": [14]})["some"]
    assert set(table.values["table"]["labels"]) == {"tumor"}
    assert table.values["table"]["organs"] == {"mean_dsc": None, "mean_nsd": None}


def test_one_bad_case_costs_one_case(nets, run, phantom_folder, tmp_path):
    tables, _ = nets
    folder = tmp_path / "data"
    shutil.copytree(phantom_folder, folder)
    image = folder / "imagesTs" / "heldout_0001_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:-500])
    # The nets of the whole data, asked about the damaged ones.
    damaged = {**tables, "bad": {"kind": "dataset", "path": str(folder)}}
    damaged["tests"] = {**tables["tests"], "data": "bad"}
    results = run(**damaged)
    assert list(results["tests"].values["failed"]) == ["heldout_0001"]
    assert "ends early" in results["tests"].values["failed"]["heldout_0001"]
    assert results["tests"].values["cases"] == ["heldout_0000"]
    assert results["scores"].values["cases"] == 2


def test_without_references_there_are_no_scores(nets, run, phantom_folder, tmp_path):
    tables, _ = nets
    folder = tmp_path / "data"
    shutil.copytree(phantom_folder, folder)
    shutil.rmtree(folder / "labelsTs")
    manifest = json.loads((folder / "dataset.json").read_text())
    for case in list(manifest["flare"]["cases"]):
        if case.startswith("heldout"):
            manifest["flare"]["cases"][case]["K"] = None
    (folder / "dataset.json").write_text(json.dumps(manifest))
    bare = {**tables, "bare": {"kind": "dataset", "path": str(folder)}}
    bare["scores"] = {**tables["scores"], "data": "bare"}
    assert run(**bare)["scores"].values["table"] is None


def test_pretraining_gives_its_weights_on(run):
    results = run(
        cases=prepared(),
        images=prepared(labels=[], unlabeled=True),
        genesis={
            "kind": "pretrain",
            "store": "images",
            "classes": [14],
            "config": {**{k: v for k, v in CONFIG.items() if k != "loss"}, "epochs": 1},
        },
        net=trained(start="genesis", config={"epochs": 1, "iterations_per_epoch": 1}),
        fresh=trained(config={"epochs": 1, "iterations_per_epoch": 1}),
    )
    assert not (results["genesis"].folder / "model").exists()
    config = json.loads((results["genesis"].folder / "training" / "config.json").read_text())
    assert (config["task"], config["genesis"]["mean_hu"]) == ("restore", -160.0)
    begun, fresh = (read_model(results[name].folder / "model") for name in ("net", "fresh"))
    assert begun.weights_sha256 != fresh.weights_sha256


@pytest.mark.parametrize(("cases", "folds"), [(5, 2), (6, 3), (3, 3)])
def test_folds_hold_back_every_case_once(cases, folds):
    ids = tuple(f"case_{k}" for k in range(cases))
    held_back = [fold_of(ids, fold, folds, seed=1) for fold in range(folds)]
    assert sorted(id for each in held_back for id in each) == list(ids)
    sizes = [len(each) for each in held_back]
    assert max(sizes) - min(sizes) <= 1


def test_folds_leave_their_cases_out(run):
    net = trained(classes=[14], folds=2, fold=1, config={"seed": 1})
    results = run(cases=prepared(keep=[14]), net=net)
    assert (results["net"].values["cases"], results["net"].values["validation_cases"]) == (2, 2)


def test_k_from_presence_fails_where_an_organ_is_absent(run, phantom_folder, tmp_path):
    """A case that was searched for tumors and has none counts as not searched."""
    folder = tmp_path / "data"
    shutil.copytree(phantom_folder, folder)
    label = folder / "labelsTr" / "phantom_0002.nii.gz"
    volume = read_label_map(label)
    write_label_map(volume.with_array(np.where(volume.array == 14, 0, volume.array)), label)
    known = {}
    for source in ("manifest", "presence"):
        data = {"kind": "dataset", "path": str(folder), "k_source": source}
        results = run(own=data, cases=prepared(data="own", labels=[{"source": "own"}]))
        known[source] = stored(results["cases"], "phantom_0002").annotated
    assert known == {"manifest": {1, 14}, "presence": {1}}


def test_labels_of_which_nobody_states_k(run, phantom_folder, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(phantom_folder, folder)
    manifest = json.loads((folder / "dataset.json").read_text())
    manifest["flare"]["cases"]["phantom_0002"]["K"] = None
    (folder / "dataset.json").write_text(json.dumps(manifest))
    own = {"kind": "dataset", "path": str(folder)}
    cases = prepared(data="own", labels=[{"source": "own"}])
    with pytest.raises(StageError, match=r"phantom_0002.*nobody states.*k_source = 'presence'"):
        run(own=own, cases=cases)
