import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from flare_infer.cli import main
from flare_infer.errors import ModelError
from flare_infer.model import read_model, write_model
from flare_infer.overlays import add_overlay
from flare_infer.predictor import Predictor
from flare_io import atomic
from flare_io.errors import LabelError
from flare_io.labels import LabelTable, label_table

from .conftest import random_weights, tiny_net


@pytest.fixture
def tumor_spec(spec):
    return replace(
        spec,
        name="tumor",
        net=tiny_net(out_channels=3),
        labels=label_table("flare23").subset((3, 14)),
        preprocessing=replace(spec.preprocessing, spacing_mm=(5.0, 3.0, 3.0)),
        default_mode="exact",
    )


@pytest.fixture
def organ_folder(tmp_path, spec):
    organs = replace(
        spec, net=tiny_net(out_channels=3), labels=label_table("flare23").subset((1, 3))
    )
    write_model(tmp_path / "organs", organs, [random_weights(organs.net)])
    return tmp_path / "organs"


@pytest.fixture
def tumor_folder(tmp_path, tumor_spec):
    write_model(tmp_path / "tumor", tumor_spec, [random_weights(tumor_spec.net, seed=3)])
    return tmp_path / "tumor"


def test_chosen_labels_are_painted_over_the_model_below(organ_folder, tumor_folder, ct):
    below = Predictor.load(organ_folder).predict(ct)
    above = Predictor.load(tumor_folder).predict(ct)
    model = add_overlay(organ_folder, "tumor", tumor_folder, (14,))
    assert model.labels.ids == (1, 3, 14)
    assert model.labels.name_of(14) == "tumor"
    seconds = {}
    found = Predictor.load(organ_folder).predict(replace(ct, notes=("n",)), timings=seconds)
    assert {3, 14} <= set(np.unique(above.array).tolist())
    assert np.array_equal(found.array, np.where(above.array == 14, 14, below.array))
    assert found.geometry == ct.geometry
    assert found.notes == ("n",)
    assert set(seconds) == {"read", "prepare", "search", "network", "decide", "restore"}


def test_layers_stack_in_the_order_of_adding_and_a_name_is_replaced(organ_folder, tumor_folder):
    add_overlay(organ_folder, "first", tumor_folder, [14])
    add_overlay(organ_folder, "second", tumor_folder, [3, 14])
    model = add_overlay(organ_folder, "first", tumor_folder, [3])
    assert [(each.name, each.labels) for each in model.overlays] == [
        ("second", (3, 14)),
        ("first", (3,)),
    ]
    assert [labels for _, labels in model.layers] == [None, (3, 14), (3,)]
    assert read_model(organ_folder) == model
    # The source is not needed any more.
    for path in tumor_folder.iterdir():
        path.unlink()
    assert read_model(organ_folder) == model


def test_wide_labels_above_narrow_ones(organ_folder, tumor_spec, tmp_path, ct):
    wide = replace(tumor_spec, labels=LabelTable.from_names("wide", {"a": 300, "b": 400}))
    write_model(tmp_path / "wide", wide, [random_weights(wide.net, seed=3)])
    model = add_overlay(organ_folder, "wide", tmp_path / "wide", (400,))
    assert model.labels.ids == (1, 3, 400)
    found = Predictor.load(organ_folder).predict(ct).array
    assert found.dtype == np.uint16
    assert 400 in found
    assert 300 not in found


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("../away", (14,), r"name must be letters.*got '../away'"),
        ("", (14,), "name must be letters"),
        ("t", (9,), r"must paint labels of its model \[3, 14\], got \[9\]"),
        ("t", (), "got none"),
    ],
)
def test_wrong_arguments_leave_the_folder_alone(organ_folder, tumor_folder, name, labels, message):
    before = sorted(organ_folder.rglob("*"))
    with pytest.raises(ValueError, match=message):
        add_overlay(organ_folder, name, tumor_folder, labels)
    assert sorted(organ_folder.rglob("*")) == before


def test_models_that_do_not_fit_each_other(organ_folder, tumor_folder, tumor_spec, tmp_path):
    other = replace(tumor_spec, labels=LabelTable.from_names("other", {"lung": 1, "b": 2}))
    write_model(tmp_path / "other", other, [random_weights(other.net)])
    with pytest.raises(LabelError, match=r"label 1 must mean 'liver'.*found 'lung'"):
        add_overlay(organ_folder, "t", tmp_path / "other", (1,))
    scheme = tumor_spec.preprocessing.intensities[0]
    two = replace(
        tumor_spec,
        net=tiny_net(out_channels=3, in_channels=2),
        preprocessing=replace(tumor_spec.preprocessing, intensities=(scheme, scheme)),
    )
    write_model(tmp_path / "two", two, [random_weights(two.net)])
    with pytest.raises(ValueError, match=r"must take the 1 channels of the model below.*takes 2"):
        add_overlay(organ_folder, "t", tmp_path / "two", (14,))
    add_overlay(tumor_folder, "x", organ_folder, (1,))
    with pytest.raises(ValueError, match="overlay t must have no overlays of its own"):
        add_overlay(organ_folder, "t", tumor_folder, (14,))


def test_a_changed_overlay_is_found(organ_folder, tumor_folder):
    add_overlay(organ_folder, "t", tumor_folder, (14,))
    path = organ_folder / "overlays" / "t" / "model.json"
    path.write_text(path.read_text().replace('"tumor"', '"tumour"', 1))
    with pytest.raises(ModelError, match=r"overlays/t/model.json: SHA-256 must be.*add the ov"):
        read_model(organ_folder)
    path.unlink()
    with pytest.raises(ModelError, match=r"overlays/t/model.json: cannot be read"):
        read_model(organ_folder)


def test_a_name_that_leaves_the_folder_is_refused(organ_folder, tumor_folder):
    add_overlay(organ_folder, "t", tumor_folder, (14,))
    path = organ_folder / "model.json"
    fields = json.loads(path.read_text())
    fields["overlays"][0]["name"] = "../../tumor"
    path.write_text(json.dumps(fields))
    with pytest.raises(ModelError, match="leaves the model folder"):
        read_model(organ_folder)


def test_a_kill_while_replacing_leaves_no_mixture_that_loads(
    organ_folder, tumor_folder, tumor_spec, tmp_path, monkeypatch
):
    whole = add_overlay(organ_folder, "t", tumor_folder, (14,))
    write_model(tmp_path / "new", tumor_spec, [random_weights(tumor_spec.net, seed=9)])
    for stop_at in (1, 2, 3):
        files = count(1)

        def fail(operation, files=files, stop_at=stop_at):
            if operation == "create" and next(files) == stop_at:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(atomic, "failpoint", fail)
        with pytest.raises(OSError, match="No space left"):
            add_overlay(organ_folder, "t", tmp_path / "new", (14,))
        monkeypatch.undo()
        if stop_at == 1:
            assert read_model(organ_folder) == whole
        else:
            with pytest.raises(ModelError, match="SHA-256"):
                read_model(organ_folder)
            break


def test_mirroring_needs_every_layer(organ_folder, tumor_spec, tmp_path, ct):
    plain = replace(tumor_spec, windows=replace(tumor_spec.windows, mirror_axes=()))
    write_model(tmp_path / "plain", plain, [random_weights(plain.net)])
    add_overlay(organ_folder, "t", tmp_path / "plain", (14,))
    with pytest.raises(ValueError, match="trained with mirroring"):
        Predictor.load(organ_folder).predict(ct, tta=True)


def test_info_names_the_layers(organ_folder, tumor_folder, capsys):
    add_overlay(organ_folder, "lesions", tumor_folder, (14,))
    assert main(["info", "-m", str(organ_folder)]) == 0
    printed = capsys.readouterr().out
    assert "1 liver, 3 spleen, 14 tumor" in printed
    assert "+ lesions  tumor, paints 14" in printed
