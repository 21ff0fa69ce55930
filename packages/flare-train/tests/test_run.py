import dataclasses
import json
import re

import pytest

from flare_train.errors import CheckpointError
from flare_train.run import RunConfig, fit_dataset, read_run_config, resume, split_cases


@pytest.fixture(scope="module")
def short_run(make_run_config):
    return make_run_config(epochs=2, iterations_per_epoch=2)


def test_round_trip(short_run):
    assert RunConfig.from_dict(json.loads(json.dumps(short_run.to_dict()))) == short_run


def test_changes_replace_single_settings(run_file):
    config = read_run_config(run_file, changes={"train.batch": 3, "validation_cases": 2})
    assert (config.train.batch, config.validation_cases) == (3, 2)


def test_toml_says_the_same_as_json(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        """
        [preprocessing]
        spacing_mm = [3.0, 1.5, 1.5]
        intensities = [{ scheme = "zscore" }]
        [train]
        classes = [0, 1]
        patch = [8, 8, 8]
        [train.net]
        architecture = "plain"
        in_channels = 1
        out_channels = 2
        features = [4, 8]
        kernels = [[3, 3, 3], [3, 3, 3]]
        strides = [[1, 1, 1], [2, 2, 2]]
        convs = [1, 1]
        decoder_convs = [1]
        """
    )
    config = read_run_config(path)
    assert config.train.patch == (8, 8, 8)
    assert config.preprocessing.spacing_mm == (3.0, 1.5, 1.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json: is no readable json file"),
        ('{"trian": 1}', "unknown setting trian; a run has preprocessing, train, validation_cases"),
        ("{}", "a run needs the settings preprocessing, train"),
    ],
    ids=["broken", "unknown", "missing"],
)
def test_bad_settings_files(tmp_path, text, message):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_run_config(path)


def test_run_leaves_a_model_and_repeats_to_the_same_bytes(phantom_folder, tmp_path, short_run):
    truth = phantom_folder / "truthTr"
    model = fit_dataset(phantom_folder, tmp_path, short_run, labels=truth)
    weights = (model / "weights.safetensors").read_bytes()
    assert resume(tmp_path) == model
    assert (model / "weights.safetensors").read_bytes() == weights
    records = (tmp_path / "training" / "metrics.jsonl").read_text().splitlines()
    assert len(records) == 2
    assert json.loads(records[-1])["dice"]


def test_model_is_loaded_by_the_predictor(phantom_folder, tmp_path, short_run):
    from flare_infer.predictor import Predictor
    from flare_io.files import read_volume

    model = fit_dataset(phantom_folder, tmp_path, short_run, labels=phantom_folder / "truthTr")
    predictor = Predictor.load(model, device="cpu")
    image = read_volume(sorted((phantom_folder / "imagesTs").iterdir())[0])
    labels = predictor.predict(image)
    assert labels.shape == image.shape
    assert labels.geometry == image.geometry
    assert set(labels.array.ravel().tolist()) <= set(short_run.train.classes)


def test_other_settings_do_not_overwrite_a_run(phantom_folder, tmp_path, short_run):
    truth = phantom_folder / "truthTr"
    fit_dataset(phantom_folder, tmp_path, short_run, labels=truth)
    other = dataclasses.replace(short_run, train=dataclasses.replace(short_run.train, batch=1))
    with pytest.raises(CheckpointError, match="batch 2 there and 1 here"):
        fit_dataset(phantom_folder, tmp_path, other, labels=truth)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ValueError, match="there is no run in this folder"):
        resume(tmp_path)


def test_split_is_even_handed_and_by_seed():
    ids = tuple("abcdefgh")
    learned, held_back = split_cases(ids, 3, seed=0)
    assert set(learned) | set(held_back) == set(ids)
    assert (len(learned), len(held_back)) == (5, 3)
    assert split_cases(ids[::-1], 3, seed=0) == (learned, held_back)
    assert any(split_cases(ids, 3, seed=seed)[1] != held_back for seed in range(1, 5))
    with pytest.raises(ValueError, match="must leave a case to learn from, got 8 of 8"):
        split_cases(ids, 8, seed=0)
