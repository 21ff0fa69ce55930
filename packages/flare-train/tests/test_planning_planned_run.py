import json
import shutil

import pytest

from flare_train.cli import main
from flare_train.errors import TrainingDataError
from flare_train.planning.budget import Budget
from flare_train.planning.planned_run import PlanRequest, plan_run
from flare_train.run import read_run_config


@pytest.fixture(scope="module")
def raw(phantom_folder, tmp_path_factory):
    """Return the phantoms as nnU-Net's raw folder: complete labels, no word about K."""
    folder = tmp_path_factory.mktemp("raw") / "Dataset007_Phantom"
    shutil.copytree(phantom_folder / "imagesTr", folder / "imagesTr")
    shutil.copytree(phantom_folder / "truthTr", folder / "labelsTr")
    manifest = json.loads((phantom_folder / "dataset.json").read_text())
    del manifest["flare"]
    (folder / "dataset.json").write_text(json.dumps(manifest))
    return folder


def changed(raw, tmp_path, **changes):
    folder = tmp_path / "changed"
    shutil.copytree(raw, folder)
    manifest = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**manifest, **changes}))
    return folder


def test_a_raw_folder_of_nnunet_is_planned_with_no_edits(raw, tmp_path):
    planned = plan_run(raw, tmp_path, PlanRequest())
    config = read_run_config(planned.settings)
    full = planned.plan.fullres
    assert planned.cases == 6
    # Every case of nnU-Net is annotated for all classes.
    assert planned.partial == config.train.loss.partial == "refuse"
    labels = json.loads((raw / "dataset.json").read_text())["labels"]
    assert config.train.classes == planned.classes == tuple(sorted(labels.values()))
    assert config.train.net.out_channels == len(labels)
    assert (config.train.net, config.train.patch) == (full.net, full.patch)
    assert config.preprocessing.spacing_mm == full.spacing_mm
    ct = config.preprocessing.intensities[0]
    assert (ct.scheme, ct.low < ct.mean < ct.high) == ("ct", True)
    measured = json.loads((tmp_path / "fingerprint.json").read_text())
    assert len(measured["shapes"]) == 6
    text = planned.describe()
    assert f"patch      {' x '.join(map(str, full.patch))}, batch {full.batch}" in text
    assert json.loads(json.dumps(planned.to_dict()))["features"] == list(full.net.features)


def test_cases_that_annotate_in_part_are_learned_with_the_marginal_loss(phantom_folder, tmp_path):
    planned = plan_run(phantom_folder, tmp_path, PlanRequest())
    assert planned.partial == "marginal"
    assert read_run_config(planned.settings).train.loss.partial == "marginal"


def test_classes_that_are_asked_for(raw, tmp_path):
    planned = plan_run(raw, tmp_path, PlanRequest(classes=(14, 1), validation_cases=2))
    assert planned.classes == (0, 1, 14)
    assert read_run_config(planned.settings).validation_cases == 2
    with pytest.raises(TrainingDataError, match=r"no case annotates the classes \[77\]; annotated"):
        plan_run(raw, tmp_path, PlanRequest(classes=(1, 77)))


def test_an_ignore_label_is_taken_over(raw, tmp_path):
    labels = json.loads((raw / "dataset.json").read_text())["labels"]
    folder = changed(raw, tmp_path, labels={**labels, "ignore": max(labels.values()) + 1})
    planned = plan_run(folder, tmp_path / "plan", PlanRequest())
    config = read_run_config(planned.settings)
    assert config.train.loss.ignore_label
    assert config.train.net.out_channels == len(labels)


def test_regions_are_refused_by_name(raw, tmp_path):
    labels = {"background": 0, "whole": [1, 14], "core": [14]}
    folder = changed(raw, tmp_path, labels=labels, regions_class_order=[1, 14])
    with pytest.raises(TrainingDataError, match=r"plain classes, found the regions whole, core"):
        plan_run(folder, tmp_path / "plan", PlanRequest())


def test_a_patch_and_a_budget_contradict_each_other():
    with pytest.raises(ValueError, match="patch and budget cannot be given together"):
        PlanRequest(patch=(32, 32, 32), budget=Budget(parameters=1e6))


def test_the_command_plans_to_a_budget_and_fit_takes_the_settings(raw, tmp_path, capsys):
    words = ["plan", str(raw), "-o", str(tmp_path), "--stages", "2", "--spacing", "12,10,10"]
    assert main([*words, "--max-parameters", "3e4", "--batch", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spacing_mm"] == [12.0, 10.0, 10.0]
    assert found["parameters"] <= 30_000
    assert (found["batch"], len(found["features"])) == (2, 2)
    fit = ["fit", str(raw), "-o", str(tmp_path / "run"), "-c", found["settings"]]
    short = ["--set", "train.epochs=1", "--set", "train.iterations_per_epoch=1"]
    assert main([*fit, *short, "--device", "cpu"]) == 0
    model = tmp_path / "run" / "model"
    capsys.readouterr()
    export = ["export-nnunet", str(model), "-o", str(tmp_path / "results")]
    assert main([*export, "--dataset", "Dataset007_Phantom"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"model {tmp_path / 'results'}")
    assert any("bring volumes to the order" in line for line in lines)
    assert main([*export, "--dataset", "Phantom"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--spacing", "3,1.5"], "three lengths as in 3,1.5,1.5 expected"),
        (["--patch", "a,b,c"], "three sizes as in 32,128,192 expected"),
        (["--rules", "huge"], "invalid choice"),
    ],
)
def test_wrong_usage(words, message, capsys):
    with pytest.raises(SystemExit):
        main(["plan", "x", "-o", "y", *words])
    assert message in capsys.readouterr().err
