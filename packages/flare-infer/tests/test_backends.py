import builtins
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flare_infer.backends import choice
from flare_infer.backends import openvino as openvino_backend
from flare_infer.backends import torch as torch_backend
from flare_infer.backends.choice import Choice, MissingError
from flare_infer.backends.warm import WarmNets
from flare_infer.model import read_model, write_model
from flare_infer.predictor import Predictor
from flare_io.files import write_volume

from .conftest import random_weights

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture
def windows(spec):
    rng = np.random.default_rng(3)
    return [rng.normal(size=(1, 1, *spec.windows.patch)).astype(np.float32) for _ in range(6)]


def has_bfloat16():
    core = openvino_backend.CORE
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_both_backends_give_the_same_logits(model_folder, windows):
    model = read_model(model_folder)
    (exact,) = torch_backend.load(model, device="cpu", mode="exact")
    (fast,) = torch_backend.load(model, device="cpu", mode="fast")
    (other,) = openvino_backend.load(model, precision="float32")
    for window in windows:
        expected = exact(window)
        scale = np.abs(expected).max()
        for net in (fast, other):
            np.testing.assert_allclose(net(window), expected, rtol=0, atol=1e-4 * scale)


_TOUCH = """
import os, resource, sys
import flare_infer.backends.torch
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.empty(64 << 20, dtype=torch.uint8).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[never]" in LARGE_PAGES.read_text(), reason="no large pages"
)
def test_large_arrays_of_torch_lie_in_large_pages_unless_the_program_says_no():
    faults = {}
    for asked in ("0", None):
        rest = {key: value for key, value in os.environ.items() if key != "THP_MEM_ALLOC_ENABLE"}
        environment = rest | ({} if asked is None else {"THP_MEM_ALLOC_ENABLE": asked})
        done = subprocess.run(
            [sys.executable, "-c", _TOUCH], env=environment, check=True, capture_output=True
        )
        faults[asked] = int(done.stdout)
    # 64 MiB are 16384 pages of 4 KiB, 32 of 2 MiB.
    assert faults["0"] > 16000
    assert faults[None] < 8000


def test_logits_are_new_arrays_and_windows_stay(model_folder, windows):
    (net,) = openvino_backend.load(read_model(model_folder), precision="float32")
    before = windows[0].copy()
    first = net(windows[0])
    kept = first.copy()
    net(windows[1])
    assert np.array_equal(first, kept)
    assert np.array_equal(windows[0], before)
    assert first.flags.writeable


def test_bfloat16_is_near_and_not_the_same(model_folder, windows):
    if not has_bfloat16():
        pytest.skip("needs a processor with bfloat16")
    model = read_model(model_folder)
    (single,) = openvino_backend.load(model, precision="float32")
    (half,) = openvino_backend.load(model, precision="bfloat16")
    expected, found = single(windows[0]), half(windows[0])
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    # bfloat16 has 8 bits; a few layers add up.
    assert 2**-12 < difference < 2**-4


def test_a_processor_without_bfloat16_is_named(model_folder, monkeypatch):
    monkeypatch.setattr(type(openvino_backend.CORE), "get_property", lambda *_: ["FP32"])
    with pytest.raises(MissingError, match="AVX512-BF16 or AMX; use float32") as caught:
        openvino_backend.load(read_model(model_folder), precision="bfloat16")
    assert caught.value.exit_code == 5


def test_a_processor_without_int8_is_named(model_folder, monkeypatch):
    monkeypatch.setattr(openvino_backend, "has_int8", lambda: False)
    with pytest.raises(MissingError, match="VNNI or AMX; use float32") as caught:
        openvino_backend.load(read_model(model_folder), precision="int8")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("value", "threads"), [("1", 1), ("2,1", 2), ("", None), ("0", None), ("many", None)]
)
def test_threads_are_those_of_the_variable_that_torch_goes_by(monkeypatch, value, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert dict(openvino_backend._settings("float32")).get("INFERENCE_NUM_THREADS") == threads


def test_threads_share_a_network(model_folder, windows):
    (net,) = openvino_backend.load(read_model(model_folder), precision="float32")
    expected = [net(window) for window in windows]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(net, windows * 4))
    for number, each in enumerate(found):
        assert np.array_equal(each, expected[number % len(windows)])


def test_labels_agree_where_margins_are_not_tiny(model_folder, ct):
    by_torch = Predictor.load(model_folder, device="cpu", backend="torch", mode="fast")
    by_openvino = Predictor.load(
        model_folder, device="cpu", backend="openvino", precision="float32", mode="fast"
    )
    assert (by_torch.predict(ct).array == by_openvino.predict(ct).array).mean() > 0.999


def test_ensembles_and_overlays_have_their_nets(spec, tmp_path, windows):
    weights = [random_weights(spec.net, seed=seed) for seed in (0, 1)]
    model = write_model(tmp_path / "two", spec, weights)
    first, second = openvino_backend.load(model, precision="float32")
    assert not np.allclose(first(windows[0]), second(windows[0]))
    expected = torch_backend.load(model, device="cpu", mode="exact")[1](windows[0])
    np.testing.assert_allclose(second(windows[0]), expected, rtol=0, atol=1e-3)


def test_nets_are_loaded_once_for_each_mode(model_folder):
    nets = WarmNets(read_model(model_folder), Choice(device="cpu"))
    fast = nets.by_layer("fast")
    assert nets.by_layer("fast")[0][0] is fast[0][0]
    assert nets.by_layer("exact")[0][0] is not fast[0][0]


def test_the_mode_of_load_is_the_mode_of_predict(model_folder, ct):
    exact = Predictor.load(model_folder, device="cpu", mode="exact")
    expected = exact.predict(ct, mode="exact").array
    assert np.array_equal(exact.predict(ct).array, expected)
    with pytest.raises(ValueError, match="mode must be fast or exact, got 'quick'"):
        Predictor.load(model_folder, mode="quick")
    with pytest.raises(ValueError, match="give mode fast"):
        Predictor.load(model_folder, mode="exact", backend="openvino")


def test_exact_mode_is_torch_in_its_default_order(model_folder, windows):
    nets = WarmNets(read_model(model_folder), Choice(device="cpu"))
    (reference,) = torch_backend.load(read_model(model_folder), device="cpu", mode="exact")
    assert np.array_equal(nets.by_layer("exact")[0][0](windows[0]), reference(windows[0]))


def test_an_openvino_that_is_broken_is_said_and_torch_runs(model_folder, monkeypatch, caplog):
    whole = builtins.__import__

    def broken(name, globals=None, locals=None, fromlist=(), level=0):
        if name == "flare_infer.backends.openvino_import":
            raise ImportError("libopenvino.so is gone")
        return whole(name, globals, locals, fromlist, level)

    monkeypatch.setattr(choice, "_has_openvino", lambda: True)
    monkeypatch.setattr(builtins, "__import__", broken)
    with caplog.at_level(logging.WARNING):
        nets = WarmNets(read_model(model_folder), Choice(device="cpu"))
        assert nets.choice.to_dict("fast")["backend"] == "openvino"
        assert len(nets.by_layer("fast")[0]) == 1
    assert "torch runs instead: OpenVINO cannot be loaded: libopenvino.so is gone" in caplog.text
    assert nets.choice.to_dict("fast") == {"backend": "torch", "precision": "float32"}
    for asked in ({"backend": "openvino"}, {"precision": "bfloat16"}):
        with pytest.raises(MissingError, match="is gone; install it anew or give backend torch"):
            WarmNets(read_model(model_folder), Choice(device="cpu", **asked)).by_layer("fast")


def test_a_mistake_of_ours_is_no_broken_openvino(model_folder, monkeypatch):
    whole = builtins.__import__

    def broken(name, globals=None, locals=None, fromlist=(), level=0):
        if name == "flare_infer.backends" and "openvino" in (fromlist or ()):
            raise ImportError("cannot import name")
        return whole(name, globals, locals, fromlist, level)

    monkeypatch.setattr(choice, "_has_openvino", lambda: True)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ImportError, match="cannot import name"):
        WarmNets(read_model(model_folder), Choice(device="cpu")).by_layer("fast")


def test_a_signal_after_two_models_is_only_a_signal(model_folder):
    """The stack for signals that OpenVINO sets must outlive every model."""
    code = (
        "import signal, sys\n"
        "import numpy as np\n"
        "from flare_infer.backends import openvino\n"
        "from flare_infer.model import read_model\n"
        "model = read_model(sys.argv[1])\n"
        "window = np.zeros((1, 1, *model.spec.windows.patch), np.float32)\n"
        "first = openvino.load(model, precision='float32')\n"
        "second = openvino.load(model, precision='float32')\n"
        "logits = first[0](window), second[0](window)\n"
        "del first\n"
        "del second\n"
        "rubbish = [bytearray(b'x' * size) for size in range(0, 60_000, 7)]\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n"
        "signal.raise_signal(signal.SIGTERM)\n"
    )
    command = [sys.executable, "-c", code, str(model_folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def run_and_list_modules(*arguments):
    """Run the command in a process of its own; return the roots of what it loaded."""
    code = (
        "import sys\nfrom flare_infer.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("head", ["softmax", "regions", "tta", "overlay"])
def test_a_run_with_openvino_never_loads_torch(spec, with_regions, ct, tmp_path, head):
    chosen = with_regions if head == "regions" else spec
    if head == "overlay":
        chosen = replace(spec, overlay=(14,))
    write_model(tmp_path / "m", replace(chosen, default_mode="fast"), [random_weights(chosen.net)])
    write_volume(ct, tmp_path / "scan.nii.gz")
    files = ("-m", tmp_path / "m", "-i", tmp_path / "scan.nii.gz", "-o", tmp_path / "out.nii.gz")
    more = ("--tta",) if head == "tta" else ("--memory-mib", "4096")
    loaded = run_and_list_modules("run", *files, "--device", "cpu", *more)
    assert "openvino" in loaded
    absent = {"torch", "openvino_telemetry", "flare_train", "scipy", "pandas", "SimpleITK"}
    assert not loaded & absent
