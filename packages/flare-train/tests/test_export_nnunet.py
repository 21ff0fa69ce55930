import dataclasses
import json
import pickletools
import zipfile

import numpy as np
import pytest
import torch

from flare_infer.model import ModelSpec, write_model
from flare_infer.nnunet import import_nnunet
from flare_infer.nnunet_checkpoint import load_nnunet_checkpoint
from flare_infer.predictor import Predictor
from flare_infer.windows import WindowPlan
from flare_io.geometry import Geometry
from flare_io.intensity import Intensity
from flare_io.labels import label_table
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume
from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_train.export_nnunet import export_nnunet
from flare_train.start_weights import load_start_weights

NAME = "Dataset712_FLARE"
CT = Intensity(scheme="ct", mean=50.0, std=100.0, low=-200.0, high=300.0)
GRID = Preprocessing(spacing_mm=(4.0, 2.0, 2.0), intensities=(CT,), crop="none")
NET = NetConfig(
    architecture="plain",
    in_channels=1,
    out_channels=4,
    features=(4, 8),
    kernels=((3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (2, 2, 2)),
    convs=(1, 1),
    decoder_convs=(1,),
    up_bias=False,
    head_bias=False,
)


def model_at(folder, *, members=1, **changes):
    fields = {
        "name": "tiny",
        "net": NET,
        "labels": label_table("flare23").subset((1, 3, 14)),
        "preprocessing": GRID,
        "windows": WindowPlan(patch=(8, 16, 16), mirror_axes=(0, 2)),
    }
    spec = ModelSpec(**{**fields, **changes})
    weights = []
    for number in range(members):
        torch.manual_seed(number)
        state = build_net(spec.net).state_dict()
        weights.append({k: v * (4 if k.startswith("heads") else 1) for k, v in state.items()})
    write_model(folder, spec, weights)
    return folder


def scan():
    rng = np.random.default_rng(5)
    coarse = np.kron(rng.normal(60, 150, (4, 6, 6)), np.ones((3, 5, 4)))
    return Volume(coarse.astype(np.int16), Geometry((5.0, 1.5, 1.5)))


@pytest.mark.parametrize("members", [1, 2])
def test_the_folder_is_where_nnunet_looks_and_predicts_the_same_when_it_comes_back(
    tmp_path, members
):
    model = model_at(tmp_path / "m", members=members)
    found = export_nnunet(model, tmp_path / "results", dataset=NAME)
    assert found.folder == tmp_path / "results" / NAME / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert found.folds == tuple(range(members))
    names = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*.*")}
    assert names == {
        "plans.json",
        "dataset.json",
        *(f"fold_{k}/checkpoint_final.pth" for k in range(members)),
    }
    back = import_nnunet(found.folder, tmp_path / "back")
    assert back.members == members
    assert back.spec.windows.mirror_axes == (0, 2)
    volume = scan()
    before = Predictor.load(model, device="cpu").predict(volume, mode="exact").array
    after = Predictor.load(tmp_path / "back", device="cpu").predict(volume, mode="exact").array
    # Label 14 stays 14, though the net has four channels.
    assert set(np.unique(before)) <= {0, 1, 3, 14}
    assert len(np.unique(before)) > 2
    assert np.array_equal(before, after)


def test_the_checkpoint_holds_plain_values_and_what_nnunet_reads(tmp_path):
    found = export_nnunet(model_at(tmp_path / "m"), tmp_path / "r", dataset=NAME, batch=4)
    path = found.folder / "fold_0" / "checkpoint_final.pth"
    content = load_nnunet_checkpoint(path, required=("network_weights",))
    assert content["trainer_name"] == "nnUNetTrainer"
    assert content["inference_allowed_mirroring_axes"] == (0, 2)
    assert content["init_args"]["configuration"] == "3d_fullres"
    plans = json.loads((found.folder / "plans.json").read_text())
    assert plans.pop("flare")["written_by"].startswith("flare-train ")
    assert content["init_args"]["plans"] == plans
    assert content["init_args"]["plans"]["configurations"]["3d_fullres"]["batch_size"] == 4
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        called = {
            argument
            for code, argument, _ in pickletools.genops(archive.read(name))
            if code.name == "GLOBAL"
        }
    assert called == {
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "collections OrderedDict",
    }


def test_it_serves_to_begin_another_training_with(tmp_path):
    found = export_nnunet(model_at(tmp_path / "m"), tmp_path / "r", dataset=NAME)
    config = dataclasses.replace(NET, up_bias=True, head_bias=True, out_channels=7)
    net = build_net(config)
    report = load_start_weights(net, found.folder, parts="body")
    assert report.kind == "nnunet-v2"
    expected = dict(build_net(NET).state_dict())
    assert report.loaded == sum(not name.startswith("heads.") for name in expected) + 1


def test_written_again_it_replaces_what_was_there(tmp_path):
    model = model_at(tmp_path / "m")
    first = export_nnunet(model, tmp_path / "r", dataset=NAME)
    plans = (first.folder / "plans.json").read_bytes()
    (first.folder / "plans.json").unlink()
    assert export_nnunet(model, tmp_path / "r", dataset=NAME) == first
    assert export_nnunet(model, tmp_path / "r", dataset=NAME) == first
    assert (first.folder / "plans.json").read_bytes() == plans


def test_an_ensemble_made_smaller_leaves_no_old_fold(tmp_path):
    three = model_at(tmp_path / "a", members=3)
    one = model_at(tmp_path / "b")
    folder = export_nnunet(three, tmp_path / "r", dataset=NAME).folder
    export_nnunet(one, tmp_path / "r", dataset=NAME)
    assert [path.name for path in folder.glob("fold_*/*.pth")] == ["checkpoint_final.pth"]


def test_a_model_that_nnunet_trained_stays(tmp_path):
    model = model_at(tmp_path / "m")
    folder = export_nnunet(model, tmp_path / "r", dataset=NAME).folder
    for content in ('{"plans_name": "nnUNetPlans"}', "no JSON"):
        (folder / "plans.json").write_text(content)
        before = (folder / "fold_0" / "checkpoint_final.pth").read_bytes()
        with pytest.raises(ValueError, match="nnU-Net trained lies there and stays as it is"):
            export_nnunet(model, tmp_path / "r", dataset=NAME)
        assert (folder / "fold_0" / "checkpoint_final.pth").read_bytes() == before


def test_notes_say_what_depends_on_the_call_and_the_case(tmp_path):
    found = export_nnunet(model_at(tmp_path / "m"), tmp_path / "r", dataset=NAME)
    assert [note.split(":")[0] for note in found.notes] == [
        "nnU-Net takes axes as a file stores them",
        "nnU-Net crops to voxels that are not 0",
    ]
    other = model_at(
        tmp_path / "o",
        preprocessing=dataclasses.replace(GRID, axes="as_stored", crop="nonzero"),
        windows=WindowPlan(patch=(8, 16, 16), step=0.75),
    )
    found = export_nnunet(other, tmp_path / "r", dataset=NAME)
    assert found.notes[0] == "call nnU-Net with -step_size 0.75"
    assert found.notes[1].startswith("no axis may be mirrored")
    assert json.loads(json.dumps(found.to_dict()))["folds"] == [0]


def test_what_nnunet_cannot_do_is_refused_until_it_is_allowed(tmp_path):
    model = model_at(tmp_path / "m", overlay=(14,), order="decide-resample")
    message = r"no channels that decide alone.*; no the order decide-resample; allow differences"
    with pytest.raises(ValueError, match=message):
        export_nnunet(model, tmp_path / "r", dataset=NAME)
    assert not (tmp_path / "r").exists()
    found = export_nnunet(model, tmp_path / "r", dataset=NAME, allow_differences=True)
    assert found.notes[1] == "nnU-Net has no the order decide-resample"
    assert (found.folder / "plans.json").exists()


@pytest.mark.parametrize("name", ["FLARE", "Dataset12_X", "Dataset712_", "Dataset712_../x"])
def test_a_name_that_nnunet_would_not_find(tmp_path, name):
    model = model_at(tmp_path / "m")
    with pytest.raises(ValueError, match=r"such as Dataset712_FLARE, of three digits, got"):
        export_nnunet(model, tmp_path / "r", dataset=name)
