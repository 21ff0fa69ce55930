import json
import re

import pytest

from flare_infer.model import read_model
from flare_train.cli import main
from flare_train.recipe import read_recipe, recipe_names
from flare_train.run_card import ScoreRow, describe_scores
from flare_train.run_recipe import read_request, run_recipe, write_request

QUICK = {"epochs": 2, "iterations_per_epoch": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a function that runs a recipe at `unit` in very few iterations, once each."""
    folder = tmp_path_factory.mktemp("recipes")
    known = {}

    def run(name):
        if name not in known:
            whole = read_recipe(name, scale="unit")
            nets = [each.name for each in whole.stages if each.kind in ("train", "pretrain")]
            # Folds are changed by the name that the document has.
            names = {re.sub(r"-\d$", "", net) for net in nets}
            changes = {
                f"stages.{net}.config.{key}": value
                for net in sorted(names)
                for key, value in QUICK.items()
            }
            if name == "s1-swift":
                changes["stages.fine.config.epochs"] = 3
            recipe = read_recipe(name, scale="unit", changes=changes)
            known[name] = run_recipe(recipe, folder / name)
        return known[name]

    return run


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_ends_with_a_model_and_its_card(runs, name):
    done = runs(name)
    model = read_model(done.model)
    card = json.loads((done.folder / "run_card.json").read_text())
    assert card["model"]["weights_sha256"] == model.weights_sha256
    assert set(card["stages"]) == {stage.name for stage in done.recipe.stages}
    assert {name: row["used"] for name, row in card["readings"].items()} == {
        reading.name: reading.default for reading in done.recipe.readings
    }
    assert card["failed_cases"] == {}
    assert [row["name"] for row in card["scores"]] == list(done.recipe.scores)
    text = (done.folder / "run_card.md").read_text()
    assert all(f"- {reading.name} = {reading.used}" in text for reading in done.recipe.readings)
    assert describe_scores(done.rows) in text


def test_rows_show_what_a_net_can_know(runs):
    (both, *_) = runs("s5-pancancer").rows
    assert both.organ_dsc is None
    assert both.tumor_dsc is not None
    assert both.diseased + both.healthy == 2
    teachers = runs("s4-student").rows[1]
    assert teachers.organ_dsc is not None
    assert teachers.tumor_dsc is None


def test_models_have_the_heads_they_were_trained_with(runs):
    cheap = read_model(runs("s3-partial").model).spec
    assert (cheap.background, cheap.overlay, cheap.order) == (
        "threshold",
        (14,),
        "decide-resample",
    )
    plus = read_model(runs("swift-plus").model).spec
    assert (plus.background, plus.overlay) == ("channel", (14,))
    final = read_model(runs("s2-genesis").model).spec
    assert (final.components.min_share, final.windows.step) == (0.05, 1.0)
    assert read_model(runs("s5-pancancer").model).members == 2
    assert (runs("s4-student").model / "overlays" / "tumor-model").is_dir()


def test_a_request_is_kept(tmp_path):
    write_request(tmp_path, name="swift-plus", scale="unit", readings={"tie": "background"})
    recipe = read_request(tmp_path)
    assert (recipe.name, recipe.scale) == ("swift-plus", "unit")
    assert {reading.name: reading.used for reading in recipe.readings}["tie"] == "background"
    assert read_request(tmp_path / "elsewhere") is None


def test_table_of_scores():
    row = ScoreRow(
        name="net",
        organ_dsc=0.5,
        organ_nsd=0.25,
        tumor_dsc=None,
        tumor_nsd=None,
        diseased=0,
        healthy=3,
        healthy_wrong=1,
        seconds_per_case=1.23456,
    )
    lines = describe_scores((row,)).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert lines[2] == "| net | 0.500 | 0.250 | - (n = 0) | - | 1 of 3 | 1.235 |"
    assert describe_scores(()).startswith("no scores")


def test_run_and_resume_commands(runs, capsys):
    folder = runs("swift-plus").folder
    changes = [f"stages.net.config.{key}={value}" for key, value in QUICK.items()]
    words = ["run", "swift-plus", "--scale", "unit", "-o", str(folder), "--jobs", "1"]
    for change in changes:
        words += ["--set", change]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["model"] == str(folder / "model")
    assert main(["resume", str(folder), "--jobs", "1"]) == 0
    assert "| swift-plus |" in capsys.readouterr().out


def test_recipes_command(capsys):
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(
        recipe_names()
    )
    assert main(["recipes", "s1-swift"]) == 0
    assert "tie = background (or A, B)" in capsys.readouterr().out
    assert main(["recipes", "s1-swift", "--text"]) == 0
    assert "big512x3" in capsys.readouterr().out
    assert main(["recipes", "s1-swift", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "s1-swift"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "s6", "-o", "x"], "no recipe is named 's6'"),
        (["run", "s1-swift", "-o", "x"], "needs data: give a folder with --dataset"),
        (["run", "s1-swift", "-o", "x", "--scale", "unit", "--reading", "tie"], "NAME=OPTION"),
    ],
)
def test_wrong_usage(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
