import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from flare_infer.model import read_model
from flare_io.intensity import Intensity
from flare_io.labels import label_table
from flare_io.preprocessing import Preprocessing
from flare_train.config import LossConfig
from flare_train.export import export_model, head_fields
from flare_train.loop import fit

PREPROCESSING = Preprocessing(
    spacing_mm=(3.0, 2.0, 2.0), intensities=(Intensity(scheme="none"),), crop="none"
)


@pytest.mark.parametrize(
    ("loss", "fields"),
    [
        (LossConfig(), {}),
        (LossConfig(head="hybrid"), {"overlay": (14,), "background": "channel"}),
        (LossConfig(head="sigmoid"), {"overlay": (14,), "background": "threshold"}),
        (
            LossConfig(head="sigmoid", background_channel=True),
            {"overlay": (14,), "background": "channel"},
        ),
    ],
)
def test_head_of_the_model(make_config, loss, fields):
    config = make_config()
    net = dataclasses.replace(config.net, out_channels=loss.out_channels(config.classes))
    assert head_fields(dataclasses.replace(config, net=net, loss=loss)) == fields


def test_export_writes_once_and_says_where_it_comes_from(make_config, cases, tmp_path):
    config = make_config(epochs=1, iterations_per_epoch=1)
    result = fit(config, cases, tmp_path / "run")
    common = {"table": label_table("flare23"), "preprocessing": PREPROCESSING}
    folder = export_model(tmp_path / "model", result, config, **common, windows={"step": 0.25})
    model = read_model(folder)
    assert model.spec.windows.step == 0.25
    assert model.spec.provenance["settings"] == json.loads(json.dumps(config.to_dict()))
    time = model.weights_file.stat().st_mtime_ns
    export_model(folder, result, config, **common, windows={"step": 0.25})
    assert model.weights_file.stat().st_mtime_ns == time
    export_model(folder, result, config, **common)
    assert read_model(folder).spec.windows.step == 0.5


def test_running_average_is_what_is_exported(make_config, cases, tmp_path):
    config = make_config(epochs=1, iterations_per_epoch=3, ema_decay=0.9)
    result = fit(config, cases, tmp_path / "run")
    assert result.ema is not None
    export_model(
        tmp_path / "model",
        result,
        config,
        table=label_table("flare23"),
        preprocessing=PREPROCESSING,
    )
    written = load_file(read_model(tmp_path / "model").weights_file)
    for name, value in result.ema.items():
        assert torch.equal(written[f"member0/{name}"], value)
