import sys

import pytest

from flare_nets.cost import count_cost
from flare_train.recipe import SCALES, read_recipe, recipe_names, recipe_text
from flare_train.stages.kinds import read_settings
from flare_train.stages.train_config import train_config

NAMES = recipe_names()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dataset")


def config_of(recipe, name):
    stage = next(each for each in recipe.stages if each.name == name)
    settings = read_settings(stage.kind, stage.settings, name=name)
    return train_config(settings, restores=stage.kind == "pretrain")


def settings_of(recipe):
    return {stage.name: (stage.kind, dict(stage.settings)) for stage in recipe.stages}


def test_the_five_systems_and_our_own():
    assert NAMES == (
        "s1-swift",
        "s2-genesis",
        "s3-partial",
        "s4-student",
        "s5-pancancer",
        "swift-plus",
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_reads_at_every_scale(name, scale, folder):
    recipe = read_recipe(name, scale=scale, dataset=folder if scale == "full" else None)
    names = {stage.name for stage in recipe.stages}
    assert recipe.model in names
    assert set(recipe.scores.values()) <= names
    assert recipe.stages[0].kind == ("dataset" if scale == "full" else "phantom")


@pytest.mark.parametrize("name", NAMES)
def test_a_full_recipe_follows_its_own_readings(name, folder):
    recipe = read_recipe(name, dataset=folder)
    assert [reading.name for reading in recipe.readings if reading.replaced] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_every_reading_changes_something(name, folder):
    recipe = read_recipe(name, dataset=folder)
    plain = settings_of(recipe)
    for reading in recipe.readings:
        assert reading.used == reading.default
        for option in reading.options:
            other = read_recipe(name, dataset=folder, readings={reading.name: option})
            found = next(each for each in other.readings if each.name == reading.name)
            assert (found.used, found.replaced) == (option, False)
            assert (settings_of(other) == plain) == (option == reading.default)


# Counts of the published nets, millions of parameters, see the papers' tables.
@pytest.mark.parametrize(
    ("name", "stage", "readings", "millions"),
    [
        ("s1-swift", "swift", {}, 3.150),
        ("s1-swift", "fine", {}, 84.97),
        ("s1-swift", "fine", {"fine_variant": "cap320"}, 30.79),
        ("s1-swift", "fine", {"fine_variant": "cap1024"}, 88.40),
        ("s2-genesis", "tumor-net", {}, 30.79),
        ("s2-genesis", "final-net", {}, 30.71),
        ("s3-partial", "net", {"background": "channel"}, 5.65),
        ("s4-student", "student", {}, 5.63),
        ("s4-student", "teacher-0", {}, 31.20),
        ("s5-pancancer", "batch4", {}, 30.79),
        ("s5-pancancer", "batch8", {"architecture": "resenc_m"}, 101.94),
        ("swift-plus", "net", {}, 3.150),
    ],
)
def test_published_sizes(name, stage, readings, millions, folder):
    config = config_of(read_recipe(name, dataset=folder, readings=readings), stage)
    count = count_cost(config.net, config.patch).parameters / 1e6
    assert count == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(
    ("name", "stage", "epochs", "batch", "patch"),
    [
        ("s1-swift", "fine", 1000, 2, (56, 224, 224)),
        ("s1-swift", "swift", 1500, 2, (32, 128, 192)),
        ("s2-genesis", "tumor-net", 2000, 2, (112, 160, 160)),
        ("s2-genesis", "final-net", 1000, 2, (56, 160, 192)),
        ("s3-partial", "net", 1000, 4, (128, 128, 128)),
        ("s4-student", "teacher-4", 1000, 2, (48, 192, 192)),
        ("s4-student", "tumor-student", 1500, 2, (32, 128, 192)),
        ("s5-pancancer", "batch4", 1000, 4, (96, 160, 160)),
        ("s5-pancancer", "batch8", 1000, 8, (96, 160, 160)),
    ],
)
def test_published_schedules(name, stage, epochs, batch, patch, folder):
    config = config_of(read_recipe(name, dataset=folder), stage)
    assert (config.epochs, config.batch, config.patch) == (epochs, batch, patch)
    assert config.iterations_per_epoch == 250
    assert (config.optimizer.kind, config.optimizer.learning_rate) == ("sgd", 0.01)


# 0.01 * 0.9^k and 0.01 * 0.8219^k after 200 k epochs; poly of nnU-Net.
@pytest.mark.parametrize(
    ("stage", "reading", "epoch", "rate"),
    [
        ("fine", "step", 0, 0.01),
        ("fine", "step", 399, 0.009),
        ("fine", "step", 999, 0.006561),
        ("swift", "step", 200, 0.008219),
        ("swift", "step", 1499, 0.01 * 0.8219**7),
        ("fine", "poly", 200, 0.01 * 0.8**0.9),
        ("swift", "poly", 600, 0.01 * 0.6**0.9),
    ],
)
def test_learning_rates_as_printed(stage, reading, epoch, rate, folder):
    from flare_train.optimizers import learning_rate

    recipe = read_recipe("s1-swift", dataset=folder, readings={"schedule": reading})
    found = learning_rate(config_of(recipe, stage), epoch * 250)
    assert found == pytest.approx(rate, abs=1e-9)


def test_folds_become_stages_with_seeds_of_their_own(folder):
    recipe = read_recipe("s4-student", dataset=folder, seed=100)
    stages = {stage.name: stage for stage in recipe.stages}
    assert [stages[f"teacher-{k}"].settings["fold"] for k in range(5)] == [0, 1, 2, 3, 4]
    assert [config_of(recipe, f"teacher-{k}").seed for k in range(5)] == [100, 101, 102, 103, 104]
    assert stages["teachers"].inputs == tuple(f"teacher-{k}" for k in range(5))


def test_seed_reaches_phantoms_and_nets():
    recipe = read_recipe("swift-plus", scale="unit", seed=7)
    assert recipe.stages[0].settings["seed"] == 7
    assert config_of(recipe, "net").seed == 7


def test_words_for_classes_become_ids():
    recipe = read_recipe("s3-partial", scale="mini")
    config = config_of(recipe, "net")
    assert config.classes == (0, 1, 2, 3, 5, 11, 14)
    assert config.loss.partial_labels == (14,)


def test_changes_reach_single_settings(folder):
    changes = {"stages.swift.config.batch": 5, "stages.fused.options.tie": "B"}
    recipe = read_recipe("s1-swift", dataset=folder, changes=changes)
    assert config_of(recipe, "swift").batch == 5
    assert config_of(recipe, "fine").batch == 2
    assert [each.replaced for each in recipe.readings if each.name == "tie"] == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "s1-swfit"}, "no recipe is named 's1-swfit'; did you mean 's1-swift'"),
        ({"scale": "tiny"}, "scale must be one of full, small, mini, unit, got 'tiny'"),
        ({"scale": "full"}, "at scale full needs data: give a folder with --dataset"),
        ({"dataset": "nowhere"}, "--dataset must name a folder, got 'nowhere'"),
        ({"readings": {"tei": "A"}}, "no reading 'tei'; did you mean 'tie'"),
        ({"readings": {"tie": "C"}}, "tie must be one of background, A, B, got 'C'"),
        ({"changes": {"batch": 3}}, "must name stages.STAGE.SETTING, got 'batch'"),
        ({"changes": {"stages.swfit.config.batch": 3}}, "'swfit'; did you mean 'swift'"),
        ({"changes": {"stages.swift.conifg.batch": 3}}, "did you mean stages.swift.config"),
        ({"changes": {"stages.swift.config.bach": 3}}, "stages.swift: unknown setting bach"),
        ({"changes": {"stages.swift.config.optimizer.lr": 3}}, "stages.swift: .*optimizer.lr"),
        ({"changes": {"stages.fused.options.tei": "A"}}, "stages.fused: .*'tei'"),
        ({"changes": {"stages.fused.rule": "s9"}}, "stages.fused: rule must be"),
        ({"changes": {"stages.swift-cases.preprocessing.crop": "box"}}, "crop must be one of"),
        ({"changes": {"stages.swift.store": "fsued"}}, "reads 'fsued', which is no stage"),
    ],
)
def test_what_is_misspelled_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        read_recipe(**{"name": "s1-swift", "scale": "unit", **arguments})


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("title =", "titel =", "unknown key 'titel'; did you mean 'title'"),
        ("tumor = 14", "", "lacks the key 'tumor'"),
        ('model = "net"', 'model = "cases"', "must name a stage of kind train or model"),
        ('"swift-plus" = "scored"', '"x" = "net"', "must name a stage of kind score"),
        ("[scale.mini.", "[scale.mimi.", "unknown scale 'mimi'; did you mean 'mini'"),
        (
            "[stages.fused]",
            "[every.tarin]\n[stages.fused]",
            "kind every.tarin; did you mean 'train'",
        ),
        ("[stages.net]", "[stages.net", "is no readable TOML"),
        ('use = "yes"', "", "readings.gt_first must hold about, use and options"),
    ],
)
def test_a_document_of_ones_own(tmp_path, before, after, message):
    text = recipe_text("swift-plus")
    assert before in text
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert read_recipe(path, scale="unit").name == "mine"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ValueError, match=message):
        read_recipe(path, scale="unit")


def test_reading_recipes_loads_no_torch():
    import subprocess

    code = (
        "import sys; from flare_train.recipe import read_recipe; "
        "read_recipe('s4-student', scale='mini'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_checksum_is_of_what_is_run():
    plain = read_recipe("swift-plus", scale="unit")
    assert plain.sha256 == read_recipe("swift-plus", scale="unit").sha256
    assert plain.sha256 != read_recipe("swift-plus", scale="mini").sha256
    changed = read_recipe("swift-plus", scale="unit", changes={"stages.net.config.epochs": 4})
    assert changed.sha256 != plain.sha256
