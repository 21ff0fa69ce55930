"""The examples are run: the service by its test client, others with stand-ins for their hosts."""

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder with random weights."""
    import torch

    from flare_infer import ModelSpec, WindowPlan, write_model
    from flare_io.intensity import Intensity
    from flare_io.labels import label_table
    from flare_io.preprocessing import Preprocessing
    from flare_nets.build import build_net
    from flare_nets.config import NetConfig

    net = NetConfig(
        architecture="plain",
        in_channels=1,
        out_channels=3,
        features=(4, 8),
        kernels=((3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2)),
        convs=(1, 1),
        decoder_convs=(1,),
        deep_supervision=False,
    )
    ct = Intensity(scheme="ct", mean=50.0, std=100.0, low=-200.0, high=300.0)
    spec = ModelSpec(
        name="tiny",
        net=net,
        labels=label_table("flare23").subset((1, 3)),
        preprocessing=Preprocessing(spacing_mm=(4.0, 2.0, 2.0), intensities=(ct,), crop="none"),
        windows=WindowPlan(patch=(8, 16, 16)),
    )
    torch.manual_seed(3)
    state = build_net(net).state_dict()
    weights = {k: v * (4 if k.startswith("heads") else 1) for k, v in state.items()}
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, spec, [weights])
    return folder


@pytest.fixture(scope="module")
def scan():
    """A smooth CT on an oblique grid whose axes are not canonical."""
    from scipy.ndimage import zoom

    from flare_io import Geometry, Volume

    coarse = np.random.default_rng(5).normal(60, 120, size=(4, 6, 6))
    angle = np.deg2rad(20)
    direction = np.array(
        [[-1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    grid = Geometry((5.0, 1.5, 1.2), origin=(-30.0, 10.0, 20.0), direction=direction)
    return Volume(zoom(coarse, (3, 5, 4), order=1).astype(np.int16), grid)


@pytest.fixture
def expected(model, scan):
    from flare_infer import Predictor

    labels = Predictor.load(model).predict(scan)
    assert len(np.unique(labels.array)) > 1
    return labels


def imported(name):
    path = EXAMPLES / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(model, monkeypatch):
    with warnings.catch_warnings():
        # Of the client's own makers, about names that they renamed.
        warnings.simplefilter("ignore", DeprecationWarning)
        testclient = pytest.importorskip("fastapi.testclient")
    monkeypatch.setenv("FLARE_MODEL", str(model))
    return testclient.TestClient(imported("service.py").app)


def test_the_service_returns_labels_on_the_grid_of_the_scan(client, model, scan, tmp_path):
    from flare_infer import Predictor
    from flare_io import read_label_map, write_volume

    write_volume(scan, tmp_path / "scan.nii.gz")
    answer = client.post("/segment", content=(tmp_path / "scan.nii.gz").read_bytes())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/gzip"
    (tmp_path / "labels.nii.gz").write_bytes(answer.content)
    labels = read_label_map(tmp_path / "labels.nii.gz")
    # From the file too: it holds spacings in float32.
    expected = Predictor.load(model).predict(tmp_path / "scan.nii.gz")
    assert np.array_equal(labels.array, expected.array)
    assert np.allclose(labels.geometry.affine, scan.geometry.affine, atol=1e-5)


def test_the_service_says_what_is_wrong_with_a_scan(client):
    answer = client.post("/segment", content=b"no scan at all")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("scan:")


def lps_affine(geometry):
    """From columns, rows and slices to L, P and S, as DICOM has it."""
    affine = np.eye(4)
    affine[:3, :3] = geometry.affine[:3, :3][::-1, ::-1]
    affine[:3, 3] = geometry.affine[:3, 3][::-1]
    return affine


class Image:
    """MONAI Deploy's image: an array and a dict."""

    def __init__(self, data, metadata=None):
        self._data, self._metadata = data, metadata or {}

    def asnumpy(self):
        return self._data

    def metadata(self):
        return self._metadata


class Operator:
    """MONAI Deploy's base class, as far as the example leans on it."""

    def __init__(self, fragment, *args, **kwargs):
        self.fragment, self.name = fragment, kwargs.get("name")


def test_the_operator_emits_labels_of_the_image_in_memory(monkeypatch, model, scan, expected):
    core = ModuleType("monai.deploy.core")
    core.Image, core.Operator = Image, Operator
    for name in ("monai", "monai.deploy"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "monai.deploy.core", core)
    operator = imported("monai_deploy_operator.py").FlareOperator("app", model=model, name="flare")
    ports = []
    operator.setup(SimpleNamespace(input=ports.append, output=ports.append))
    assert (ports, operator.name) == (["image", "seg_image"], "flare")
    metadata = {"dicom_affine_transform": lps_affine(scan.geometry)}
    received = {"image": Image(scan.array, metadata)}
    emitted = {}
    operator.compute(
        SimpleNamespace(receive=received.__getitem__),
        SimpleNamespace(emit=lambda value, port: emitted.__setitem__(port, value)),
        None,
    )
    labels = emitted["seg_image"]
    assert np.array_equal(labels.asnumpy(), expected.array)
    assert labels.metadata() is metadata


class Matrix:
    """VTK's matrix."""

    values: np.ndarray


class Node:
    """A volume node of Slicer."""

    def __init__(self, volume):
        self.volume = volume

    def GetName(self):  # noqa: N802 -- Slicer's name
        return "scan"

    def GetIJKToRASMatrix(self, matrix):  # noqa: N802 -- Slicer's name
        matrix.values = np.diag([-1, -1, 1, 1]) @ lps_affine(self.volume.geometry)


def test_the_logic_of_the_slicer_module_imports_labels_as_a_segmentation(
    monkeypatch, model, scan, expected
):
    slicer, host = ModuleType("slicer"), ModuleType("slicer.ScriptedLoadableModule")
    for part in ("", "Widget", "Logic"):
        setattr(host, f"ScriptedLoadableModule{part}", type(f"Base{part}", (), {}))
    added, done = [], []

    def add(array, matrix, name, kind):
        added.append((array, matrix.values, name, kind))
        return "label node"

    slicer.util = SimpleNamespace(
        arrayFromVTKMatrix=lambda matrix: matrix.values,
        arrayFromVolume=lambda node: node.volume.array,
        addVolumeFromArray=add,
    )
    slicer.mrmlScene = SimpleNamespace(
        AddNewNodeByClass=lambda kind: f"new {kind}", RemoveNode=done.append
    )
    logic = SimpleNamespace(ImportLabelmapToSegmentationNode=lambda *nodes: done.append(nodes))
    slicer.modules = SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: logic))
    for name, module in {
        "slicer": slicer,
        "slicer.ScriptedLoadableModule": host,
        "vtk": SimpleNamespace(vtkMatrix4x4=Matrix),
        "qt": ModuleType("qt"),
        "ctk": ModuleType("ctk"),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    module = imported("slicer/FlareSegment/FlareSegment.py")
    node = Node(scan)
    result = module.FlareSegmentLogic().segment(node, model)
    (array, matrix, name, kind) = added[0]
    assert np.array_equal(array, expected.array)
    assert np.allclose(matrix[:3, 3], [-20, -10, -30])
    assert (name, kind) == ("scan labels", "vtkMRMLLabelMapVolumeNode")
    assert result == "new vtkMRMLSegmentationNode"
    assert done == [("label node", result), "label node"]
