"""The official protocols against a recorded corpus, to the last digit.

``official/record.py`` says where the corpus comes from; a part of it is computed again here.
"""

import importlib.util
import json
import math
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from flare_metrics.case import score_case
from flare_metrics.folder import score_files, score_folder
from flare_metrics.official import score_unlike_shapes, sets_all_to_zero, stopped
from flare_metrics.protocols import protocol

HERE = Path(__file__).parent / "official"


def module(name):
    spec = importlib.util.spec_from_file_location(f"official_{name}", HERE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


record = module("record")
CORPUS = json.loads(record.CORPUS.read_text())
CASES = {case["name"]: case for case in CORPUS["cases"]}
PROTOCOLS = sorted({name for case in CASES.values() for name in case["expected"]})


def rules_of(name):
    """Return the protocol of ``flare23 0.2`` and the like."""
    base, threshold = name.split()
    return protocol(base).with_setting(f"nsd_threshold={threshold}")


def painted(spec):
    """Return a volume of the corpus as (z, y, x)."""
    array = np.zeros(spec["shape"], spec["dtype"])
    for value, x0, x1, y0, y1, z0, z1 in spec["boxes"]:
        array[x0:x1, y0:y1, z0:z1] = float(value) if array.dtype.kind == "f" else value
    return array.T


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder of all volumes in files, predictions in p and references in r."""
    folder = tmp_path_factory.mktemp("official")
    for role in ("prediction", "reference"):
        (folder / role[0]).mkdir()
        for name, case in CASES.items():
            if case[role] is not None:
                path = folder / role[0] / f"{name}.nii.gz"
                record.write_file(path, case[role], case["zooms"])
    return folder


def assert_row(score, expected):
    assert [label.dsc for label in score.labels] == expected["dsc"]
    assert [label.nsd for label in score.labels] == expected["nsd"]


def test_the_corpus_covers_what_it_should():
    assert 100 <= len(CASES) <= 150
    assert set(PROTOCOLS) == {
        *("flare22 none", "flare22 0.2", "flare23 none", "flare23 0.1", "flare23 0.2"),
        *("flare24-task1 0.2", "flare24-task1 none"),
    }
    outcomes = [outcome for case in CASES.values() for outcome in case["expected"].values()]
    assert sum("stops" in outcome for outcome in outcomes) >= 30
    assert sum("drops" in outcome for outcome in outcomes) == 3
    assert sum("dsc" in outcome for outcome in outcomes) >= 180


def test_the_defaults_are_those_of_the_published_scripts():
    assert protocol("flare22").nsd_threshold is None
    assert protocol("flare23").nsd_threshold == protocol("flare24-task1").nsd_threshold == 0.2


def test_arrays_score_as_recorded():
    compared = 0
    for name, case in CASES.items():
        if case["prediction"] is None or case["reference"] is None:
            continue
        prediction, reference = painted(case["prediction"]), painted(case["reference"])
        if prediction.shape != reference.shape:
            continue
        spacing = [float(np.float32(length)) for length in reversed(case["zooms"])]
        for key, expected in case["expected"].items():
            score = score_case(prediction, reference, spacing_mm=spacing, protocol=rules_of(key))
            if "stops" in expected:
                assert "single slice" in stopped(score), (name, key)
            else:
                assert_row(score, expected)
                assert not stopped(score)
            compared += 1
    assert compared >= 170


@pytest.mark.parametrize("key", PROTOCOLS)
def test_folders_score_as_recorded(files, tmp_path, key):
    cases = {name: case for name, case in CASES.items() if key in case["expected"]}
    for role in "pr":
        (tmp_path / role).mkdir()
        for name in cases:
            if (files / role / f"{name}.nii.gz").exists():
                shutil.copy(files / role / f"{name}.nii.gz", tmp_path / role)
    result = score_folder(tmp_path / "p", tmp_path / "r", protocol=rules_of(key))
    assert {case.case for case in result.cases} == set(cases)
    for name, case in cases.items():
        row, expected = result[name], case["expected"][key]
        if "dsc" in expected:
            assert row.status == "scored", (name, row.reason)
            assert_row(row.score, expected)
        else:
            # Listed with empty scores and the reason, outside the mean.
            assert row.status != "scored"
            assert "the official script" in row.reason
            assert ("leaves it out" in row.reason) == ("drops" in expected)
            scores = row.score.labels if row.score else ()
            assert all(math.isnan(label.dsc) and not label.scored for label in scores)


def test_the_means_of_flare23_are_those_of_its_scores_file(files):
    key = "flare23 0.2"
    result = score_folder(files / "p", files / "r", protocol=rules_of(key))
    kept = tuple(case for case in result.cases if key in CASES[case.case]["expected"])
    expected = CORPUS["flare23 means"]
    summary = type(result)(protocol=result.protocol, cases=kept).summary()
    assert summary["cases"]["scored"] == expected["cases"]
    for metric in ("dsc", "nsd"):
        means = [row[metric]["mean"] for row in summary["labels"].values()]
        assert means == expected[metric]
        assert summary["organs"][f"mean_{metric}"] == expected[f"organ_{metric}"]


def test_single_files_score_as_recorded(files):
    for name in ("organs-05", "cast-in-reference", "shape-aorta-taller", "header-meter"):
        pair = (files / role / f"{name}.nii.gz" for role in "pr")
        expected = CASES[name]["expected"]["flare22 none"]
        assert_row(score_files(*pair, protocol="flare22"), expected)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="casts are x86's")
def test_a_part_of_the_corpus_is_recorded_again(tmp_path):
    cases = {case["name"]: case for case in module("cases").all_cases()}
    assert set(cases) == set(CASES)
    for name in sorted(cases)[::4]:
        fresh = json.loads(json.dumps(record.recorded(cases[name], tmp_path)))
        assert fresh == CASES[name], name


def test_each_quirk_can_be_switched_off():
    case = CASES["tube-error-in-last-slice"]
    arrays = painted(case["prediction"]), painted(case["reference"])
    found = {
        crop: score_case(
            *arrays, spacing_mm=(2.5, 0.8, 0.8), protocol=protocol("flare23").with_setting(crop)
        )[5].dsc
        for crop in ("z_crop=half-open", "z_crop=inclusive", "z_crop=none")
    }
    # 9 voxels a slice, slices 2-4 of 2-5: 27 of 27 and 36.
    assert found == {"z_crop=half-open": 1, "z_crop=inclusive": 0.8571, "z_crop=none": 0.8571}
    two = painted(CASES["lesion-two-in-prediction"]["prediction"])
    rules = protocol("flare24-task1")
    assert score_case(two, two == 1, spacing_mm=(1, 1, 1), protocol=rules)[1].dsc == 0
    ignoring = rules.with_setting("other_labels=ignore")
    assert score_case(two, two == 1, spacing_mm=(1, 1, 1), protocol=ignoring)[1].dsc == 1
    assert sets_all_to_zero(two, rules)
    assert not sets_all_to_zero(two, ignoring)
    assert not sets_all_to_zero(two[:0], rules)


def test_a_reference_above_one_is_no_reference_of_task_1():
    reference = np.zeros((4, 4, 4), np.uint8)
    reference[1:3, 1:3, 1:3] = 2
    with pytest.raises(ValueError, match=r"reference must hold only labels .* found 2"):
        score_case(reference // 2, reference, spacing_mm=(1, 1, 1), protocol="flare24-task1")


def test_labels_of_unlike_shapes_keep_presence_and_volumes():
    prediction, reference = np.zeros((4, 10, 10), np.uint8), np.zeros((6, 10, 10), np.uint8)
    prediction[:2, :5, :4] = 1
    reference[:3, :5, :4] = 2
    rules = protocol("flare22").with_setting("both_empty=unscored")
    score = score_unlike_shapes(prediction, reference, spacing_mm=(5, 2, 1), protocol=rules)
    # 40 and 60 voxels of 0.01 ml.
    assert (score[1].presence, score[1].prediction_ml) == ("prediction only", 0.4)
    assert (score[2].presence, score[2].reference_ml) == ("reference only", 0.6)
    assert (score[3].reason, score[3].scored) == ("absent in both", False)
    assert stopped(score) == ""
