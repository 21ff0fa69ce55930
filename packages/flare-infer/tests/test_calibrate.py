import json
import shutil

import numpy as np
import pytest

from flare_infer.backends import openvino as openvino_backend
from flare_infer.backends.choice import MissingError
from flare_infer.calibrate import calibrate
from flare_infer.calibration import Calibration, read_calibration, write_calibration
from flare_infer.cli import main
from flare_infer.model import read_model
from flare_infer.overlays import add_overlay
from flare_infer.predictor import Predictor
from flare_infer.processor import has_int8
from flare_io.files import read_label_map, write_volume

pytestmark = pytest.mark.skipif(not has_int8(), reason="needs a processor with int8")


@pytest.fixture
def scan(tmp_path, ct):
    write_volume(ct, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def fast_labels(folder, image, precision):
    predictor = Predictor.load(folder, device="cpu", precision=precision, mode="fast")
    return predictor.predict(image).array


def test_agreement_is_that_of_both_label_maps(model_folder, ct):
    found = calibrate(model_folder, [ct, ct])
    single = fast_labels(model_folder, ct, "float32")
    eight = fast_labels(model_folder, ct, "int8")
    assert found.cases == 2
    assert found.differing == pytest.approx((single != eight).mean())
    for name, label in (("liver", 1), ("spleen", 3), ("tumor", 14)):
        a, b = single == label, eight == label
        assert a.any()
        assert found.dsc[name] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    # Near, and another arithmetic.
    assert 0 < found.differing < 0.1


def test_ranges_are_means_over_windows_of_what_torch_computes(model_folder, spec):
    torch = pytest.importorskip("torch")
    from flare_nets.build import build_net

    model = read_model(model_folder)
    (net,) = openvino_backend.observe(model)
    reference = build_net(spec.net)
    weights = next(openvino_backend.read_members(model.weights_file, 1))
    reference.load_state_dict({name: torch.from_numpy(each) for name, each in weights.items()})
    seen = []
    reference.encoder[1][0].conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rng = np.random.default_rng(0)
    for _ in range(3):
        window = rng.normal(size=(1, 1, *spec.windows.patch)).astype(np.float32)
        with torch.inference_mode():
            expected = reference(torch.from_numpy(window)).numpy()
        np.testing.assert_allclose(net(window), expected, atol=1e-4 * np.abs(expected).max())
    low, high = net.ranges()["encoder.1.0"]
    assert net.windows == 3
    assert low == pytest.approx(np.mean([each.min().item() for each in seen]), rel=1e-4)
    assert high == pytest.approx(np.mean([each.max().item() for each in seen]), rel=1e-4)


def test_first_layer_heads_and_transposed_convolutions_have_no_range(model_folder, ct):
    calibrate(model_folder, [ct])
    (ranges,) = read_calibration(read_model(model_folder)).ranges
    assert sorted(ranges) == ["decoder.0.0", "encoder.1.0"]


def test_steps_are_as_wide_as_the_range_says(model_folder, spec):
    """A range a thousand times too wide leaves one step: what a convolution is given is 0."""
    model = read_model(model_folder)
    window = np.random.default_rng(1).normal(size=(1, 1, *spec.windows.patch)).astype(np.float32)
    (single,) = openvino_backend.load(model, precision="float32")
    found = {}
    for width in (1, 1000):
        ranges = {"encoder.1.0": (-0.1 * width, 5.0 * width)}
        write_calibration(
            model,
            Calibration(weights_sha256=model.weights_sha256, windows=1, ranges=(ranges,)),
        )
        (net,) = openvino_backend.load(model, precision="int8")
        expected = single(window)
        found[width] = np.sqrt(((net(window) - expected) ** 2).mean()) / expected.std()
    assert found[1] < 0.05 < found[1000]


def test_overlays_are_calibrated_in_their_own_folders(model_folder, tmp_path, ct):
    other = tmp_path / "other"
    shutil.copytree(model_folder, other)
    add_overlay(model_folder, "tumors", other, [14])
    found = calibrate(model_folder, [ct])
    assert (model_folder / "overlays" / "tumors" / "int8.json").exists()
    assert found.cases == 1
    assert fast_labels(model_folder, ct, "int8").shape == ct.shape


def test_no_case_is_refused_and_writes_nothing(model_folder):
    with pytest.raises(ValueError, match="at least one case"):
        calibrate(model_folder, [])
    assert not (model_folder / "int8.json").exists()


def test_a_case_that_fails_is_left_out_and_named(model_folder, scan, tmp_path, ct, capsys):
    (tmp_path / "damaged.nii.gz").write_bytes(scan.read_bytes()[:200])
    alone = calibrate(model_folder, [ct])
    assert run("calibrate", "-m", model_folder, "-i", tmp_path, "--json") == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["cases"], found["dsc"]) == (1, dict(alone.dsc))
    (reason,) = found["failed"]
    assert "damaged.nii.gz" in reason
    assert run("calibrate", "-m", model_folder, "-i", tmp_path) == 4
    assert f"left out: {reason}" in capsys.readouterr().err


def test_where_all_cases_fail_the_first_reason_is_raised(model_folder, scan, tmp_path):
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(scan.read_bytes()[:200])
    with pytest.raises(Exception, match=r"damaged\.nii\.gz"):
        calibrate(model_folder, [damaged, scan.with_name("absent.nii.gz")])
    assert not (model_folder / "int8.json").exists()


def test_without_openvino_the_way_out_is_named(model_folder, ct, monkeypatch):
    monkeypatch.setattr("flare_infer.backends.choice._has_openvino", lambda: False)
    with pytest.raises(MissingError, match=r"pip install 'flare-infer\[openvino\]'"):
        calibrate(model_folder, [ct])


def test_a_processor_without_int8_is_refused_before_anything_is_done(model_folder, ct, monkeypatch):
    monkeypatch.setattr(openvino_backend, "has_int8", lambda: False)
    with pytest.raises(MissingError, match="VNNI"):
        calibrate(model_folder, [ct])
    assert not (model_folder / "int8.json").exists()


def run(*arguments):
    return main([str(each) for each in arguments])


def test_the_command_prints_each_class_and_int8_runs(model_folder, scan, tmp_path, capsys):
    assert run("calibrate", "-m", model_folder, "-i", scan) == 0
    text = capsys.readouterr().out
    assert "1 case; int8" in text
    assert "liver" in text
    out = tmp_path / "labels.nii.gz"
    command = ["run", "-m", model_folder, "-i", scan, "-o", out, "--precision=int8", "--json"]
    assert run(*command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["precision"] == "int8"
    assert len(report["settings"]["calibrations_sha256"][0]) == 64
    assert np.array_equal(read_label_map(out).array, fast_labels(model_folder, scan, "int8"))
    assert run(*command) == 0
    assert json.loads(capsys.readouterr().out)["cases"][0]["kept"]


def test_another_calibration_is_another_result(model_folder, scan, tmp_path, capsys):
    command = ["run", "-m", model_folder, "-i", scan, "-o", tmp_path / "out", "--json"]
    assert run("calibrate", "-m", model_folder, "-i", scan, "--json") == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 1
    assert run(*command, "--precision", "int8") == 0
    capsys.readouterr()
    model = read_model(model_folder)
    old = read_calibration(model)
    wider = tuple(
        {name: (2 * low, 2 * high) for name, (low, high) in member.items()} for member in old.ranges
    )
    write_calibration(
        model, Calibration(weights_sha256=old.weights_sha256, windows=1, ranges=wider)
    )
    assert run(*command, "--precision", "int8") == 0
    assert not json.loads(capsys.readouterr().out)["cases"][0]["kept"]


def test_int8_without_calibration_is_code_6(model_folder, scan, tmp_path, capsys):
    code = run("run", "-m", model_folder, "-i", scan, "-o", tmp_path / "o", "--precision", "int8")
    assert code == 6
    assert "flare-infer calibrate" in capsys.readouterr().err
