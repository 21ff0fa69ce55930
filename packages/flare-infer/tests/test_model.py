import json
from dataclasses import replace
from itertools import count

import pytest

from flare_infer.components import Components
from flare_infer.errors import ModelError
from flare_infer.heads import Head
from flare_infer.model import read_model, write_model
from flare_infer.spec import ModelSpec
from flare_io import atomic
from flare_io.command import ExitCode, exit_code_of
from flare_io.labels import label_table

from .conftest import random_weights, tiny_net


def test_a_model_reads_back_as_it_was_written(tmp_path, spec):
    weights = random_weights(spec.net)
    written = write_model(tmp_path / "m", replace(spec, provenance={"seed": 1}), [weights, weights])
    found = read_model(tmp_path / "m")
    assert found == written
    assert found.spec.provenance == {"seed": 1}
    assert found.members == 2
    # By hand: 27 * 1 * 4 and 27 * 4 * 8 in the encoder, 8 * 4 * 8 up, 27 * 8 * 4 in the
    # decoder, 4 * 4 in the head; biases 4 + 8 + 4 + 4 + 4, norms 2 * (4 + 8 + 4).
    weights_by_hand = 108 + 864 + 256 + 864 + 16
    assert found.parameters == weights_by_hand + 24 + 32
    assert found.labels.ids == (1, 3, 14)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "model.json",
        "weights.safetensors",
    ]


def test_model_json_says_what_the_design_names(model_folder):
    fields = json.loads((model_folder / "model.json").read_text())
    for name in ("labels", "preprocessing", "net", "windows", "provenance", "default_mode"):
        assert name in fields
    assert fields["axes"] == "canonical"
    assert fields["mirror_axes"] == [0, 1, 2]
    assert fields["macs"] > 0


def test_regions_round_trip(with_regions):
    assert ModelSpec.from_dict(with_regions.to_dict()) == with_regions
    assert with_regions.channel_labels == (14, 1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": tiny_net(out_channels=3)}, "3 output channels, background and 3 labels need 4"),
        ({"regions": (1, 3)}, "4 output channels for 2 regions"),
        ({"regions": (1, 3, 14, 9)}, r"regions write labels \[9\]"),
        ({"net": tiny_net(in_channels=2)}, "takes 2 channels, preprocessing describes 1"),
        ({"default_mode": "quick"}, "default_mode must be fast or exact"),
        ({"background": "none"}, "background must be channel or threshold, found 'none'"),
        ({"order": "decide"}, "order must be resample-decide or decide-resample or"),
        ({"background": "threshold"}, "4 output channels, 3 labels without background need 3"),
        ({"overlay": (9,)}, r"overlay paints labels \[9\] that the label table lacks"),
        ({"overlay": (3, 3)}, r"overlay must name each label once, got \(3, 3\)"),
        ({"components": {"min_voxels": 1}}, "components has unknown fields"),
    ],
)
def test_contradictions_are_refused(spec, change, message):
    with pytest.raises(ValueError, match=message):
        replace(spec, **change)


def test_regions_exclude_the_other_rules(with_regions):
    for change in ({"overlay": (14,)}, {"background": "threshold"}):
        with pytest.raises(ValueError, match="regions decide one by one"):
            replace(with_regions, **change)


def test_heads_of_the_published_systems(spec):
    assert spec.head == Head(labels=(0, 1, 3, 14), rivals=(0, 1, 2, 3))
    hybrid = replace(spec, overlay=(14,))
    assert hybrid.head == Head(labels=(0, 1, 3, 14), rivals=(0, 1, 2), painters=(3,))
    three = replace(spec, net=tiny_net(out_channels=3), background="threshold")
    assert three.channel_labels == (1, 3, 14)
    assert three.head == Head(labels=(1, 3, 14), rivals=(0, 1, 2), zero=True)
    sigmoid = replace(three, overlay=(14, 3))
    assert sigmoid.head == Head(labels=(1, 3, 14), rivals=(0,), painters=(2, 1), zero=True)


def test_every_choice_round_trips(spec):
    chosen = replace(
        spec,
        net=tiny_net(out_channels=3),
        overlay=(14,),
        background="threshold",
        order="decide-resample-linear",
        components={"min_share": 0.1, "min_mm3": 20.0},
    )
    assert chosen.components == Components(min_share=0.1, min_mm3=20.0)
    assert ModelSpec.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


def test_a_folder_of_the_first_format_keeps_loading(model_folder, spec):
    path = model_folder / "model.json"
    fields = json.loads(path.read_text())
    for name in ("overlay", "background", "order", "components", "overlays"):
        del fields[name]
    path.write_text(json.dumps({**fields, "flare_model": 1}))
    model = read_model(model_folder)
    assert model.spec == spec
    assert model.overlays == ()


def test_weights_that_do_not_fit_are_refused(tmp_path, spec):
    weights = random_weights(spec.net)
    name = "heads.0.bias"
    with pytest.raises(ValueError, match="one state dict per member"):
        write_model(tmp_path, spec, [])
    with pytest.raises(ValueError, match=f"missing or unexpected.*{name}"):
        write_model(tmp_path, spec, [{k: v for k, v in weights.items() if k != name}])
    with pytest.raises(ValueError, match=r"heads.0.bias must have shape \(4,\), got \(3,\)"):
        write_model(tmp_path, spec, [{**weights, name: weights[name][:3]}])
    with pytest.raises(ValueError, match="not finite"):
        write_model(tmp_path, spec, [{**weights, name: weights[name] * float("nan")}])
    assert not list(tmp_path.iterdir())


def test_a_changed_weight_is_found(model_folder):
    path = model_folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256 must be") as caught:
        read_model(model_folder)
    assert caught.value.kind == "checksum"
    assert exit_code_of(caught.value) is ExitCode.MODEL_REFUSED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object, found list"),
        ("{}", "format up to 2, found None"),
        ('{"flare_model": 3}', "found 3; update flare-infer"),
        ('{"flare_model": 1}', "the field 'regions' is missing"),
    ],
)
def test_a_broken_description_is_refused(model_folder, text, message):
    (model_folder / "model.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_model(model_folder)


def test_a_wrong_value_inside_is_refused(model_folder):
    path = model_folder / "model.json"
    fields = json.loads(path.read_text())
    fields["windows"]["patch"] = [9, 16, 16]
    path.write_text(json.dumps(fields))
    with pytest.raises(ModelError, match="not a valid model"):
        read_model(model_folder)


def test_a_missing_folder_names_the_way_out(tmp_path):
    with pytest.raises(ModelError, match=r"No such file.*flare-infer import-nnunet"):
        read_model(tmp_path / "nowhere")


def test_a_kill_between_the_files_never_leaves_a_pair_that_loads(
    tmp_path, spec, monkeypatch, model_folder
):
    files = count(1)

    def fail_at_second_create(operation):
        if operation == "create" and next(files) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "failpoint", fail_at_second_create)
    other = replace(spec, labels=label_table("flare23").subset((2, 4, 5)))
    with pytest.raises(OSError, match="No space left"):
        write_model(model_folder, other, [random_weights(spec.net, seed=1)])
    monkeypatch.undo()
    with pytest.raises(ModelError, match="SHA-256"):
        read_model(model_folder)
