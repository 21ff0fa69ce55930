import json

import pytest

from flare_infer.calibration import (
    Calibration,
    calibration_sha256,
    read_calibration,
    write_calibration,
)
from flare_infer.errors import ModelError
from flare_infer.model import read_model


@pytest.fixture
def model(model_folder):
    return read_model(model_folder)


@pytest.fixture
def calibration(model):
    return Calibration(
        weights_sha256=model.weights_sha256, windows=3, ranges=({"encoder.1.0": (-0.1, 5.0)},)
    )


def test_what_is_written_is_read_back(model, calibration):
    path = write_calibration(model, calibration)
    assert path == model.folder / "int8.json"
    assert read_calibration(model) == calibration
    assert [each.name for each in model.folder.glob("*.part*")] == []


def test_its_hash_is_that_of_what_it_says(model, calibration):
    write_calibration(model, calibration)
    first = calibration_sha256(model)
    write_calibration(model, calibration)
    assert calibration_sha256(model) == first
    other = Calibration(
        weights_sha256=model.weights_sha256, windows=3, ranges=({"encoder.1.0": (-0.1, 5.5)},)
    )
    write_calibration(model, other)
    assert calibration_sha256(model) != first


def test_a_model_without_one_is_told_how_to_get_it(model):
    for ask in (read_calibration, calibration_sha256):
        with pytest.raises(ModelError, match="flare-infer calibrate -m MODEL -i SCANS") as caught:
            ask(model)
        assert "int8.json" in str(caught.value)


def test_that_of_other_weights_is_refused(model, calibration):
    path = write_calibration(model, calibration)
    content = json.loads(path.read_text())
    for change in ({"weights_sha256": "0" * 64}, {"ranges": content["ranges"] * 2}):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(ModelError, match="made for other weights"):
            read_calibration(model)


@pytest.mark.parametrize(
    "change",
    [
        {"windows": None},
        {"ranges": None},
        {"ranges": [["encoder.1.0"]]},
        {"ranges": [{"encoder.1.0": [1.0]}]},
        {"ranges": [{"encoder.1.0": [2.0, 1.0]}]},
        {"ranges": [{"encoder.1.0": [0.0, float("nan")]}]},
        {"ranges": [{"encoder.1.0": [0.0, 1e38]}]},
    ],
)
def test_a_damaged_one_is_refused(model, calibration, change):
    path = write_calibration(model, calibration)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match="is no calibration"):
        read_calibration(model)


def test_half_a_file_is_refused(model, calibration):
    path = write_calibration(model, calibration)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match=r"is not JSON.*flare-infer calibrate"):
        read_calibration(model)
