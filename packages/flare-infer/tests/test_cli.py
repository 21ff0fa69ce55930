import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from flare_infer.cli import main
from flare_infer.predictor import Predictor
from flare_io.files import read_label_map, read_volume, write_volume
from flare_io.geometry import describe_grid_difference
from flare_io.volume import to_canonical


@pytest.fixture
def scan(tmp_path, ct):
    write_volume(ct, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def run(*arguments):
    return main([str(each) for each in arguments])


def test_run_writes_labels_and_says_so(model_folder, scan, tmp_path, capsys):
    code = run("run", "-m", model_folder, "-i", scan, "-o", tmp_path / "out", "--device", "cpu")
    assert code == 0
    out, err = capsys.readouterr()
    assert "1 done, 0 failed, 0 not started" in out
    assert "case 1/1 scan" in err
    labels = read_volume(tmp_path / "out" / "scan.nii.gz")
    assert labels.geometry == read_volume(scan).geometry


def test_run_json_is_the_report(model_folder, scan, tmp_path, capsys):
    out = tmp_path / "labels.nii.gz"
    code = run("run", "-m", model_folder, "-i", scan, "-o", out, "--tta", "--mode=exact", "--json")
    assert code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["mode"] == "exact"
    assert report["settings"]["tta"] is True
    assert report["cases"][0]["output"] == "labels.nii.gz"


def test_set_switches_shortcuts_and_is_kept_in_the_report(model_folder, scan, tmp_path, capsys):
    command = ["run", "-m", model_folder, "-i", scan, "-o", tmp_path / "out", "--json"]
    assert run(*command, "--set", "step=1", "--set", "body=off") == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["settings"]["fast"]["step"], first["settings"]["fast"]["body"]) == (1.0, False)
    # Other settings are another result.
    assert run(*command) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["settings"]["fast"]["step"] is None
    assert not second["cases"][0]["kept"]
    assert run(*command) == 0
    assert json.loads(capsys.readouterr().out)["cases"][0]["kept"]


def test_set_refuses_what_is_unknown_and_exact_mode(model_folder, scan, tmp_path, capsys):
    command = ["run", "-m", model_folder, "-i", scan, "-o", tmp_path / "out"]
    assert run(*command, "--set", "speed=9") == 2
    assert "with a name of step, body" in capsys.readouterr().err
    assert run(*command, "--mode", "exact", "--set", "step=1") == 2
    assert "--set changes fast mode and this run is exact; add --mode fast" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_info_is_text_and_json(model_folder, capsys):
    assert run("info", "-m", model_folder) == 0
    assert "1 liver, 3 spleen, 14 tumor" in capsys.readouterr().out
    assert run("info", "-m", model_folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["members"] == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b01.nii.gz", None),
        ("b04.nii.gz", b""),
        ("b05.nii.gz", b"patient notes, not a volume"),
        ("b06.nii.gz", b"<!DOCTYPE html><html>Not found</html>"),
    ],
)
def test_a_bad_input_is_one_line_and_code_3(model_folder, tmp_path, capsys, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert run("run", "-m", model_folder, "-i", path, "-o", tmp_path / "out") == 3
    error = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("flare-infer")
    ]
    assert len(error) == 1
    assert name in error[0]


def test_values_that_are_no_hu_are_refused_unless_said(model_folder, ct, tmp_path, capsys):
    bright = ct.with_array((ct.array * 0 + 7 + (ct.array > 50)).astype("uint8"))
    write_volume(bright, tmp_path / "gray.nii.gz")
    arguments = ("run", "-m", model_folder, "-i", tmp_path / "gray.nii.gz", "-o", tmp_path / "out")
    assert run(*arguments) == 3
    assert "--assume-hu" in capsys.readouterr().err
    assert run(*arguments, "--assume-hu") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "quick"), "invalid choice"),
        (("--max-voxels", "many"), "invalid int"),
    ],
)
def test_usage_errors_are_code_2(model_folder, scan, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        run("run", "-m", model_folder, "-i", scan, "-o", tmp_path, *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def rewrite_weights(folder, data):
    """Put other bytes in place of the weights and make the checksum agree."""
    (folder / "weights.safetensors").write_bytes(data)
    fields = json.loads((folder / "model.json").read_text())
    fields["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "model.json").write_text(json.dumps(fields))


def index(entries):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def entry(first, last, count):
    return {"dtype": "U8", "shape": [count], "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<Q", 200_000_000) + b"{}", "index of tensors must fit"),
        (b"\x01", "index of tensors must fit"),
        (index({"a": entry(0, 8, 8), "b": entry(4, 12, 8)}) + bytes(12), "without overlap"),
        (index({"a": entry(0, 4, 4), "b": entry(8, 12, 4)}) + bytes(12), "without overlap or hole"),
        (index({"a": entry(0, 4, 9)}) + bytes(4), "tensor a must take 9 bytes"),
        (index({"a": entry(0, 4, 4)}) + bytes(9), "must end with the file"),
        (index([1]) + bytes(4), "index of tensors is broken"),
    ],
    ids=["long", "short", "overlap", "hole", "size", "rest", "list"],
)
def test_m04_crafted_safetensors_are_code_6(model_folder, scan, capsys, data, message):
    rewrite_weights(model_folder, data)
    assert run("info", "-m", model_folder) == 6
    assert message in capsys.readouterr().err


def test_m03_a_wrong_sha256_is_code_6(model_folder, scan, tmp_path, capsys):
    with open(model_folder / "weights.safetensors", "ab") as stream:
        stream.write(b"\0")
    assert run("run", "-m", model_folder, "-i", scan, "-o", tmp_path / "out") == 6
    assert "flare-infer: " in capsys.readouterr().err


def test_weights_of_another_net_are_code_6(model_folder, scan, tmp_path, capsys):
    rewrite_weights(model_folder, index({"member0/x": entry(0, 4, 4)}) + bytes(4))
    assert run("run", "-m", model_folder, "-i", scan, "-o", tmp_path / "out") == 6
    assert "do not fit the net" in capsys.readouterr().err


def test_import_of_something_else_is_code_6(tmp_path, capsys):
    assert run("import-nnunet", tmp_path, "-o", tmp_path / "m") == 6
    assert "plans.json, dataset.json and fold_*" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_code_5(model_folder, scan, tmp_path, capsys):
    arguments = ("-i", scan, "-o", tmp_path / "out", "--device", "cuda:99")
    assert run("run", "-m", model_folder, *arguments) == 5
    assert "use --device cpu" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"flare-infer {version('flare-infer')}\n"


def test_help_loads_no_more_than_arguments_need():
    code = (
        "import sys\nfrom flare_infer.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'numpy', 'email', 'flare_infer.spec'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_info_and_import_load_no_torch(model_folder):
    code = (
        "import sys\nimport flare_infer\nfrom flare_infer.cli import main\n"
        f"assert main(['info', '-m', {str(model_folder)!r}, '--json']) == 0\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "absent = {'torch', 'email', 'openvino', 'SimpleITK', 'scipy', 'flare_train'}\n"
        "assert not loaded & absent, loaded & absent\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_info_loads_nothing_of_ours_that_computes(model_folder):
    code = (
        "import sys\nfrom flare_infer.cli import main\n"
        f"assert main(['info', '-m', {str(model_folder)!r}]) == 0\n"
        "ours = {n for n in sys.modules if n.split('.')[0] in ('flare_infer', 'flare_nets')}\n"
        "numeric = {n for n in ours if 'np' in vars(sys.modules[n])}\n"
        "assert 'flare_infer.model' in ours\n"
        "assert not numeric, numeric\n"
        "assert 'logging' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def heard_signals():
    """Ctrl-C reaches Python even where a shell that started it in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stop_has_its_own_code_and_the_same_command_finishes(
    model_folder, ct, tmp_path, monkeypatch, number, code
):
    (tmp_path / "scans").mkdir()
    for name in ("a", "b"):
        write_volume(ct, tmp_path / "scans" / f"{name}.nii.gz")
    arguments = ("run", "-m", model_folder, "-i", tmp_path / "scans", "-o", tmp_path / "out")
    whole, calls = Predictor.predict, []

    def stopped(self, image, **options):
        calls.append(image)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        return whole(self, image, **options)

    monkeypatch.setattr(Predictor, "predict", stopped)
    assert run(*arguments) == code
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [each["state"] for each in report["cases"]] == ["done", "not started"]
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    monkeypatch.setattr(Predictor, "predict", whole)
    assert run(*arguments) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [each["kept"] for each in report["cases"]] == [True, False]


def test_a_real_dicom_series_gives_labels_on_the_grid_of_its_organs(model_folder, tmp_path):
    data = Path(__file__).resolve().parents[4] / "shared" / "data"
    if not (data / "abdomen_dicom").is_dir():
        pytest.skip("needs the real CT in ../shared/data")
    arguments = ("-i", data / "abdomen_dicom", "-o", tmp_path / "out", "--device", "cpu")
    assert run("run", "-m", model_folder, *arguments) == 0
    # The organ map's rows run the other way: compared where the patient is.
    labels, organs = (
        to_canonical(read_label_map(path))[0]
        for path in (
            tmp_path / "out" / "abdomen_dicom.nii.gz",
            data / "abdomen_dicom_organs.nii.gz",
        )
    )
    difference = describe_grid_difference(
        labels.geometry, labels.shape, organs.geometry, organs.shape
    )
    assert difference is None
