import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from flare_infer.errors import ModelError
from flare_infer.model import ModelSpec, write_model
from flare_infer.windows import WindowPlan
from flare_io.intensity import Intensity
from flare_io.labels import label_table
from flare_io.preprocessing import Preprocessing
from flare_nets.adapters import export_weights
from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.errors import WeightsError
from flare_train.checkpoint import save_checkpoint
from flare_train.errors import CheckpointError
from flare_train.start_weights import load_start_weights
from flare_train.state import build_state

NET = NetConfig(
    architecture="plain",
    in_channels=1,
    out_channels=3,
    features=(4, 8, 8),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    convs=(2, 2, 2),
    decoder_convs=(2, 2),
)


def net_of(config, *, seed):
    return build_net(config, generator=torch.Generator().manual_seed(seed))


def state_of(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def write_folder(folder, config, weights):
    ct = Intensity(scheme="ct", mean=50.0, std=100.0, low=-200.0, high=300.0)
    spec = ModelSpec(
        name="small",
        net=config,
        labels=label_table("flare23").subset((1, 14)),
        preprocessing=Preprocessing(spacing_mm=(3.0, 2.0, 2.0), intensities=(ct,)),
        windows=WindowPlan(patch=(8, 16, 16)),
    )
    write_model(folder, spec, weights)
    return folder


def write_v2(path, config, *, seed, **changes):
    weights = export_weights(net_of(config, seed=seed).state_dict(), config)
    content = {
        "network_weights": {**weights, **changes},
        "init_args": {"configuration": "3d_fullres"},
        "_best_ema": np.float64(0.5),
    }
    path.parent.mkdir(exist_ok=True, parents=True)
    torch.save(content, path)
    return path


def test_a_model_folder_gives_all_its_weights(tmp_path):
    donor = net_of(NET, seed=1)
    folder = write_folder(tmp_path / "m", NET, [donor.state_dict()])
    net = net_of(NET, seed=2)
    report = load_start_weights(net, folder)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in donor.state_dict().items())
    weights = folder / "weights.safetensors"
    assert report.to_dict() == {
        "source": str(weights),
        "kind": "model",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "loaded": len(donor.state_dict()),
        "fresh": [],
        "dropped": [],
    }
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


def test_of_an_ensemble_the_first_member_is_taken(tmp_path):
    donors = [net_of(NET, seed=k).state_dict() for k in (1, 2)]
    net = net_of(NET, seed=3)
    load_start_weights(net, write_folder(tmp_path / "m", NET, donors))
    assert torch.equal(net.state_dict()["up.0.weight"], donors[0]["up.0.weight"])


def test_coarse_heads_that_a_model_for_inference_lacks_stay_as_they_are(tmp_path):
    lean = dataclasses.replace(NET, deep_supervision=False)
    folder = write_folder(tmp_path / "m", lean, [net_of(lean, seed=1).state_dict()])
    net = net_of(NET, seed=2)
    before = state_of(net)
    report = load_start_weights(net, folder)
    assert report.fresh == ("heads.1.bias", "heads.1.weight")
    assert torch.equal(net.state_dict()["heads.1.weight"], before["heads.1.weight"])
    assert not torch.equal(net.state_dict()["heads.0.weight"], before["heads.0.weight"])
    # And the other way round they have no place.
    full = write_folder(tmp_path / "f", NET, [net_of(NET, seed=1).state_dict()])
    report = load_start_weights(net_of(lean, seed=2), full)
    assert report.dropped == ("heads.1.bias", "heads.1.weight")


def test_stripped_heads_allow_other_classes(tmp_path):
    folder = write_folder(tmp_path / "m", NET, [net_of(NET, seed=1).state_dict()])
    other = dataclasses.replace(NET, out_channels=7)
    net = net_of(other, seed=2)
    before = state_of(net)
    with pytest.raises(
        WeightsError, match=r"heads.0.weight: expected \(7, 4.*\(start_parts = 'body'\)"
    ):
        load_start_weights(net, folder)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    report = load_start_weights(net, folder, parts="body")
    assert report.fresh == tuple(sorted(k for k in before if k.startswith("heads.")))
    assert report.loaded == len(before) - 4
    assert torch.equal(net.state_dict()["heads.0.weight"], before["heads.0.weight"])


def test_an_encoder_alone(tmp_path):
    trained = net_of(NET, seed=1)
    folder = write_folder(tmp_path / "m", NET, [trained.state_dict()])
    net = net_of(NET, seed=2)
    before = state_of(net)
    report = load_start_weights(net, folder, parts="encoder")
    assert report.fresh == tuple(sorted(k for k in before if not k.startswith("encoder.")))
    for name, value in net.state_dict().items():
        source = trained.state_dict() if name.startswith("encoder.") else before
        assert torch.equal(value, source[name]), name


def test_a_checkpoint_of_a_run(tmp_path, config):
    state = build_state(config)
    path = save_checkpoint(tmp_path / "run", state, config)
    net = net_of(config.net, seed=5)
    report = load_start_weights(net, path)
    assert report.kind == "checkpoint"
    assert all(torch.equal(net.state_dict()[k], v) for k, v in state.net.state_dict().items())


def test_a_bare_state_dict_in_half_precision_becomes_the_nets_precision(tmp_path):
    donor = {k: v.half() for k, v in net_of(NET, seed=1).state_dict().items()}
    save_file(donor, tmp_path / "snapshot.safetensors")
    net = net_of(NET, seed=2)
    load_start_weights(net, tmp_path / "snapshot.safetensors")
    taken = net.state_dict()["decoder.0.1.conv.weight"]
    assert taken.dtype == torch.float32
    assert torch.equal(taken, donor["decoder.0.1.conv.weight"].float())


@pytest.mark.parametrize("architecture", ["plain", "residual"])
def test_a_checkpoint_of_nnunet_v2(tmp_path, architecture):
    config = dataclasses.replace(NET, architecture=architecture)
    path = write_v2(tmp_path / "fold_0" / "checkpoint_final.pth", config, seed=1)
    expected = net_of(config, seed=1).state_dict()
    for source in (path, tmp_path):
        net = net_of(config, seed=2)
        report = load_start_weights(net, source)
        assert (report.kind, report.loaded) == ("nnunet-v2", len(expected))
        assert all(torch.equal(net.state_dict()[k], v) for k, v in expected.items())


def test_a_checkpoint_of_nnunet_v1(tmp_path):
    config = dataclasses.replace(
        NET, up_bias=False, head_bias=False, decoder_kernels=NET.kernels[1:]
    )
    donor = net_of(config, seed=1).state_dict()
    path = tmp_path / "model_final_checkpoint.model"
    state = export_weights(donor, config, layout="nnunet-v1")
    torch.save({"epoch": 1, "state_dict": state, "plot_stuff": [np.float64(1)]}, path)
    net = net_of(config, seed=2)
    assert load_start_weights(net, path).kind == "nnunet-v1"
    assert all(torch.equal(net.state_dict()[k], v) for k, v in donor.items())
    with pytest.raises(WeightsError, match=r"tu.0.bias is missing.*decoder_kernels"):
        load_start_weights(net_of(NET, seed=2), path)


def test_a_net_of_other_shape_is_refused_by_tensor_and_left_alone(tmp_path):
    path = write_v2(tmp_path / "checkpoint_final.pth", NET, seed=1)
    wider = dataclasses.replace(NET, features=(4, 8, 16))
    net = net_of(wider, seed=2)
    before = state_of(net)
    message = r"encoder.stages.2.0.convs.0.conv.weight: expected \(16, 8.*net that these weights"
    with pytest.raises(WeightsError, match=message):
        load_start_weights(net, path, parts="body")
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    # A bias that the net has no place for is no detail: without it the net computes otherwise.
    lean = net_of(dataclasses.replace(NET, up_bias=False), seed=2)
    with pytest.raises(WeightsError, match=r"2 tensors.*transpconvs.0.bias has no place"):
        load_start_weights(lean, path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    donor = state_of(net_of(NET, seed=1))
    donor["up.0.weight"][0] = float("nan")
    save_file(donor, tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match=r"up.0.weight holds values that are not finite"):
        load_start_weights(net_of(NET, seed=2), tmp_path / "bad.safetensors")


def test_sources_that_are_none_or_several_are_named(tmp_path):
    net = net_of(NET, seed=2)
    with pytest.raises(CheckpointError, match="not there; name a model folder"):
        load_start_weights(net, tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match=r"found neither model.json nor fold_\*"):
        load_start_weights(net, tmp_path)
    for fold in (0, 1):
        write_v2(tmp_path / f"fold_{fold}" / "checkpoint_final.pth", NET, seed=fold)
    with pytest.raises(CheckpointError, match=r"found fold_0/.*, fold_1/.*; name the file"):
        load_start_weights(net, tmp_path)
    torch.save({"weights": {}}, tmp_path / "strange.pth")
    with pytest.raises(CheckpointError, match=r"network_weights \(v2\).*found weights"):
        load_start_weights(net, tmp_path / "strange.pth")


def test_broken_files_are_refused(tmp_path):
    net = net_of(NET, seed=2)
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(CheckpointError, match="copy it again"):
        load_start_weights(net, tmp_path / "cut.safetensors")
    folder = write_folder(tmp_path / "m", NET, [net_of(NET, seed=1).state_dict()])
    changed = load_file(folder / "weights.safetensors")
    changed["member0/up.0.bias"] += 1
    save_file(changed, folder / "weights.safetensors")
    with pytest.raises(ModelError, match="SHA-256"):
        load_start_weights(net, folder)
