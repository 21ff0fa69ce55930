import pytest

from flare_train.stages.kinds import KINDS, read_settings, stage_inputs
from flare_train.stages.net_settings import TrainSettings
from flare_train.stages.train_config import train_config

NET = {
    "architecture": "plain",
    "features": [4, 8],
    "kernels": [[3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [2, 2, 2]],
    "convs": [1, 1],
    "decoder_convs": [1],
}
TRAIN = {"store": "cases", "classes": [1, 14], "config": {"net": NET, "patch": [8, 8, 8]}}


@pytest.mark.parametrize(
    ("kind", "plain", "inputs"),
    [
        ("dataset", {"path": "/data"}, ()),
        ("select", {"by": "stability", "rounds": ["r1", "r2"]}, ("data", "r1", "r2")),
        ("fuse", {"rule": "s1", "cases": "some", "sources": {"T1": "t"}}, ("data", "some", "t")),
        (
            "prepare",
            {"labels": [{"source": "fused", "cases": "some"}], "preprocessing": {}},
            ("data", "fused", "some"),
        ),
        ("train", {**TRAIN, "start": "genesis"}, ("cases", "genesis")),
        ("model", {"members": ["a", "b"], "over": "c", "over_labels": [14]}, ("a", "b", "c")),
        ("predict", {"model": "net", "cases": "test"}, ("data", "net")),
        ("predict", {"model": "net", "cases": "some"}, ("data", "net", "some")),
        ("score", {"predictions": "p"}, ("data", "p")),
    ],
)
def test_inputs_are_the_stages_that_settings_name(kind, plain, inputs):
    assert stage_inputs(read_settings(kind, plain, name="x")) == inputs


@pytest.mark.parametrize(
    ("kind", "plain", "message"),
    [
        ("trian", {}, r"stages.x.kind: .*'trian'; did you mean 'train'"),
        ("fuse", {"rule": "s1", "option": {}}, "stages.x.option; did you mean stages.x.options"),
        ("fuse", {"rule": "s1", "options": 3}, "stages.x.options must be a table, got 3"),
        ("fuse", {}, "stages.x: .*missing.*'rule'"),
        ("select", {"by": "size"}, "by must be one of labels, agreement, stability, got 'size'"),
        ("select", {"by": "stability"}, "rounds must name two"),
        ("prepare", {"preprocessing": {}}, "labels must name a source"),
        ("prepare", {"labels": 1, "preprocessing": {}}, "labels must be a list of tables, got 1"),
        ("train", {**TRAIN, "folds": 1}, "folds must be 0 or >= 2, got 1"),
        ("train", {**TRAIN, "folds": 3, "fold": 3}, "fold must lie in 0 to 2, got 3"),
        ("model", {"members": ["a"], "over": "b"}, "over_labels must go together with over"),
        ("predict", {"model": "a", "mode": "quick"}, "mode must be 'fast' or 'exact', got 'quick'"),
    ],
)
def test_wrong_settings_are_named(kind, plain, message):
    with pytest.raises(ValueError, match=message):
        read_settings(kind, plain, name="x")


def test_every_kind_has_a_home():
    from flare_train.stages.worker import HOMES

    assert set(HOMES) == set(KINDS)


@pytest.mark.parametrize(
    ("loss", "channels"),
    [({}, 3), ({"head": "sigmoid"}, 2), ({"head": "hybrid", "overlay": [14]}, 3)],
)
def test_channels_follow_from_classes_and_loss(loss, channels):
    plain = {**TRAIN, "config": {**TRAIN["config"], "loss": loss}}
    config = train_config(read_settings("train", plain, name="x"))
    assert config.classes == (0, 1, 14)
    assert config.net.out_channels == channels


def test_restoring_gives_images_back(tmp_path):
    settings = read_settings("pretrain", TRAIN, name="x")
    config = train_config(settings, restores=True)
    assert (config.task, config.net.out_channels) == ("restore", 1)
    begun = train_config(read_settings("train", TRAIN, name="x"), start=tmp_path)
    assert (begun.start, begun.start_parts) == (str(tmp_path), "body")


def test_changes_are_laid_over_a_preset_of_augmentation():
    plain = {**TRAIN, "config": {**TRAIN["config"], "augment": {"preset": "swift", "scale_p": 0.9}}}
    augment = train_config(read_settings("train", plain, name="x")).augment
    assert (augment.scale_p, augment.rotation_p, augment.mirror_axes) == (0.9, 0.2, ())


def test_parts_of_weights_need_weights():
    with pytest.raises(ValueError, match=r"start_parts must be one of \('body',\), got 'encoder'"):
        TrainSettings(store="cases", classes=(1,), config={}, start_parts="encoder")
    TrainSettings(store="cases", classes=(1,), config={}, start="first", start_parts="encoder")
