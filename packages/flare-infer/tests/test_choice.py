import sys

import pytest
import torch

from flare_infer.backends import choice
from flare_infer.backends.choice import Choice, MissingError, choose


@pytest.fixture(params=[True, False], ids=["with OpenVINO", "without"])
def installed(request, monkeypatch):
    monkeypatch.setattr(choice, "_has_openvino", lambda: request.param)
    return request.param


def test_fast_on_the_cpu_takes_openvino_where_it_is_and_exact_never(installed):
    chosen = choose("cpu", backend="auto", precision="float32")
    assert chosen.backend_for("fast") == ("openvino" if installed else "torch")
    assert chosen.backend_for("exact") == "torch"
    assert chosen.to_dict("exact") == {"backend": "torch", "precision": "float32"}


@pytest.mark.parametrize("capable", [True, False])
def test_bfloat16_by_itself_where_the_processor_has_it(installed, monkeypatch, capable):
    monkeypatch.setattr(choice, "has_bfloat16", lambda: capable)
    chosen = choose("cpu")
    narrow = installed and capable
    assert chosen.precision_for("fast") == ("bfloat16" if narrow else "float32")
    assert chosen.precision_for("exact") == "float32"
    assert choose("cpu", precision="float32").precision_for("fast") == "float32"
    assert choose("cpu", backend="torch").precision_for("fast") == "float32"
    assert Choice(device="cuda").precision_for("fast") == "float32"


def test_torch_when_asked_for(installed):
    chosen = choose("cpu", backend="torch", precision="float32")
    assert {chosen.backend_for(mode) for mode in ("fast", "exact")} == {"torch"}


def test_a_gpu_is_torch(installed):
    chosen = Choice(device="cuda:1")
    assert chosen.backend_for("fast") == "torch"
    assert chosen.to_dict("fast") == {"backend": "torch", "precision": "float16"}


def test_openvino_when_asked_for(installed):
    if not installed:
        for request in (("openvino", "float32"), ("auto", "bfloat16")):
            with pytest.raises(
                MissingError, match=r"pip install 'flare-infer\[openvino\]'"
            ) as found:
                choose("cpu", backend=request[0], precision=request[1])
            assert found.value.exit_code == 5
        return
    for backend, precision in (("openvino", "float32"), ("auto", "bfloat16")):
        chosen = choose("auto", backend=backend, precision=precision)
        assert chosen.device == "cpu"
        assert chosen.backend_for("fast") == "openvino"
        with pytest.raises(ValueError, match="mode exact needs backend torch in float32, got "):
            chosen.backend_for("exact")


@pytest.mark.parametrize(
    ("device", "backend", "precision", "message"),
    [
        ("cpu", "onnx", "float32", "backend must be auto, torch or openvino, got 'onnx'"),
        ("cpu", "auto", "float16", "precision must be auto, float32, bfloat16 or int8, got"),
        ("cpu", "torch", "bfloat16", "bfloat16 needs backend openvino, got torch"),
        ("cpu", "torch", "int8", "int8 needs backend openvino, got torch"),
        ("cuda", "openvino", "float32", "openvino runs on the CPU, got device cuda"),
        ("cuda", "auto", "bfloat16", "openvino runs on the CPU, got device cuda"),
        ("meta", "auto", "float32", "device must be auto, cpu or cuda, got 'meta'"),
        ("cpu:0", "auto", "float32", "device must be auto, cpu or cuda, got 'cpu:0'"),
        ("cuda:x", "auto", "float32", "device must be auto, cpu or cuda, got 'cuda:x'"),
    ],
)
def test_contradictions_are_named(device, backend, precision, message):
    with pytest.raises(ValueError) as caught:
        choose(device, backend=backend, precision=precision)
    assert message in str(caught.value)


def test_auto_asks_torch_only_where_a_gpu_may_be(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(choice, "_GPU_FILES", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose("auto", backend="auto", precision="float32").device == "cpu"
    (tmp_path / "nvidiactl").touch()
    assert choose("auto", backend="auto", precision="float32").device == "cuda"


@pytest.mark.parametrize(("platform", "device"), [("win32", "cuda"), ("darwin", "cpu")])
def test_other_systems_have_no_such_files(monkeypatch, platform, device):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose("auto", backend="auto", precision="float32").device == device
