"""The phantom: pure, anatomical, consistent with K, and wrong where it says so."""

import hashlib
import json

import numpy as np
import pytest

from flare_io._phantom_centers import CENTERS, center_of
from flare_io._phantom_dataset import FIRST_TEST_INDEX
from flare_io.phantom import ErrorModel, draw_phantom, phantom_preset

FEW = {0, 1, 2, 3, 5, 11, 14}


def dice(prediction, reference):
    total = prediction.sum() + reference.sum()
    return 1.0 if total == 0 else 2.0 * (prediction & reference).sum() / total


def mean_dice(prediction, truth, labels):
    return float(np.mean([dice(prediction == k, truth == k) for k in labels]))


def fused(a, b, referee):
    """S1's organ step by the letter: agreement, union, else the referee's side, else background."""
    vote = np.where(referee == a, a, np.where(referee == b, b, 0))
    return np.where(a == b, a, np.where(b == 0, a, np.where(a == 0, b, vote)))


def center_mm(case, label):
    index = np.argwhere(case.truth.array == label).mean(0)
    return case.truth.geometry.world_from_index(index)


@pytest.fixture(scope="module")
def small():
    return [draw_phantom(seed=3, index=k, preset="small") for k in range(3)]


@pytest.fixture(scope="module")
def mini():
    return [draw_phantom(seed=0, index=k, preset="mini") for k in range(20)]


def digest(case):
    volumes = [case.image, case.truth, *case.pseudo.values()]
    data = b"".join(v.array.tobytes() for v in volumes)
    return hashlib.sha256(data + json.dumps(case.record).encode()).hexdigest()


def test_same_arguments_give_the_same_bytes():
    first, again = (draw_phantom(seed=5, index=4, preset="unit") for _ in range(2))
    assert digest(first) == digest(again)


@pytest.mark.parametrize("change", [{"seed": 6}, {"index": 5}, {"errors": ErrorModel(omission=2)}])
def test_every_argument_matters(change):
    same = {"seed": 5, "index": 4, "preset": "unit"}
    assert digest(draw_phantom(**same)) != digest(draw_phantom(**{**same, **change}))


def test_grid_types_and_axes(mini):
    case = mini[0]
    assert case.image.shape == (32, 48, 48)
    assert case.image.array.dtype == np.int16
    assert case.image.geometry.spacing_mm == (9.0, 7.0, 7.0)
    assert case.image.geometry.axis_codes == "SPL"
    for volume in (case.truth, case.partial, *case.pseudo.values()):
        assert volume.array.dtype == np.uint8
        assert volume.geometry == case.image.geometry
    assert case.image.array.min() >= -1024
    assert case.image.array.max() <= 3071


def test_mini_draws_six_classes_with_merged_kidneys(mini):
    for case in mini:
        assert set(np.unique(case.truth.array)) <= FEW
        assert set(np.unique(case.truth.array)) >= FEW - {14}
        kidneys = case.truth.array == 2
        assert kidneys[:, :, :24].any()
        assert kidneys[:, :, 24:].any()


def test_small_draws_all_thirteen_organs(small):
    for case in small:
        volumes = np.bincount(case.truth.array.ravel(), minlength=15)
        assert (volumes[1:14] > 0).all()
    # Adrenal glands on the coarsest grid that draws them: around sixty voxels, never a handful.
    adrenals = [np.bincount(c.truth.array.ravel(), minlength=15)[7:9].sum() for c in small]
    assert min(adrenals) >= 60


def test_organs_lie_where_they_belong(small):
    for case in small:
        where = {k: center_mm(case, k) for k in range(1, 14)}
        superior, posterior, left = 0, 1, 2
        assert where[1][left] < where[5][left] < where[3][left]
        assert where[2][left] < where[6][left] < where[5][left] < where[13][left]
        assert where[11][left] > where[9][left]
        assert where[7][left] < 0 < where[8][left]
        assert where[7][superior] > where[2][superior]
        assert where[8][superior] > where[13][superior]
        assert where[10][superior] > where[11][superior] > where[12][superior]
        for kidney in (2, 13):
            assert where[kidney][posterior] > where[4][posterior] > where[11][posterior] - 10
        assert where[9][posterior] < where[1][posterior]


def test_liver_is_the_largest_and_volumes_are_human(small):
    for case in small:
        ml = np.bincount(case.truth.array.ravel(), minlength=15) * 0.15
        assert 700 < ml[1] < 2500
        assert ml[1] == ml[1:].max()
        for kidney in (2, 13):
            assert 50 < ml[kidney] < 350
        assert 3 < ml[7] < 25


def test_spine_and_table_lie_behind(small):
    image = small[0].image.array
    bone = np.argwhere(image[:, :, 20:44] > 350)
    assert bone[:, 1].mean() > 32
    # Below the back, beyond a gap of air, there is the tray.
    column = image[24, :, 32]
    solid = np.flatnonzero(column > -300)
    assert (np.diff(solid) > 1).any()
    assert solid[-1] > 54


def test_contrast_moves_vessels_and_kidneys_together(mini):
    def enhanced(case, label):
        return float(np.median(case.image.array[case.truth.array == label]))

    latents = np.array([case.record["phase"]["latent"] for case in mini])
    portal = np.array([case.record["phase"]["name"] != "native" for case in mini])
    for label in (2, 5):
        values = np.array([enhanced(case, label) for case in mini])
        assert np.corrcoef(latents[portal], values[portal])[0, 1] > 0.8


def test_same_patient_on_another_grid():
    coarse = draw_phantom(seed=2, index=0, preset="mini")
    fine = draw_phantom(seed=2, index=0, preset="mini", spacing_mm=(4.5, 3.5, 3.5))
    assert fine.image.shape == (64, 96, 96)
    # Sub-voxels (1::2) straddle the coarse centers: the labels agree but for the boundary.
    organs = sorted(FEW - {0, 14})
    assert mean_dice(fine.truth.array[1::2, 1::2, 1::2], coarse.truth.array, organs) > 0.85
    by_shape = draw_phantom(seed=2, index=0, preset="mini", shape=(64, 96, 96))
    np.testing.assert_array_equal(by_shape.truth.array, fine.truth.array)


def test_volume_does_not_depend_on_the_grid():
    volumes = []
    for spacing in (6.0, 4.0):
        case = draw_phantom(seed=9, index=1, preset="small", spacing_mm=(spacing,) * 3)
        volumes.append(np.bincount(case.truth.array.ravel(), minlength=15)[1:4] * spacing**3)
    # A liver of 1.4 l changes by under one percent, a kidney by a few: boundary voxels average out.
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=0.05)


def test_around_a_body_in_a_very_wide_field_there_is_air():
    case = draw_phantom(
        seed=3, index=1, preset="unit", shape=(6, 60, 60), spacing_mm=(40.0, 14.0, 14.0)
    )
    # The field reaches 420 mm to each side of its center, a body 105 and 150 mm.
    y, x = np.abs(np.mgrid[:60, :60] - 29.5) * 14
    behind = np.arange(60)[:, None] > 30  # the table is there
    outside = ((y > 230) | (x > 230)) & ~behind
    assert (case.image.array[:, outside] < -800).all()


def test_presets_share_the_patient():
    mini, small = (draw_phantom(seed=4, index=2, preset=name) for name in ("mini", "small"))
    assert mini.record["tumors"][0]["radius_mm"] == small.record["tumors"][0]["radius_mm"]
    assert mini.record["center"] == small.record["center"] == "C1"


def test_partial_labels_keep_to_k(mini):
    for case in mini:
        stated = CENTERS[case.record["center"]].annotated
        if stated is None:
            assert case.partial is None
            assert case.annotated is None
            assert case.record["K"] is None
            continue
        assert case.record["K"] == sorted(case.annotated)
        assert 13 not in case.annotated
        partial, truth = case.partial.array, case.truth.array
        assert set(np.unique(partial)) <= case.annotated | {0}
        for label in case.annotated & {1, 3, 5, 11}:
            covered = (truth == label) & (partial != label)
            assert not covered.any()


def test_host_centers_leave_other_tumors_unlabeled():
    found = set()
    for index in (2, 17, 4, 19, 22, 37, 24, 39):
        case = draw_phantom(seed=1, index=index, preset="unit")
        host = CENTERS[case.record["center"]].tumor_host
        for tumor in case.record["tumors"]:
            assert tumor["annotated"] == (tumor["host"] == host)
            found.add(tumor["annotated"])
        complete = all(tumor["annotated"] for tumor in case.record["tumors"])
        assert (14 in case.record["K_truth"]) == complete
        assert 14 in case.record["K"]
    assert found == {True, False}


def test_tumors_are_drawn_and_recorded():
    cases = [draw_phantom(seed=0, index=k, preset="unit") for k in range(40)]
    healthy = np.mean([not case.record["tumors"] for case in cases])
    # 30 % of 40: a spread of 7 %.
    assert 0.1 < healthy < 0.5
    for case in cases:
        drawn = (case.truth.array == 14).sum() * case.truth.geometry.voxel_volume_mm3 / 1000
        recorded = sum(tumor["volume_ml"] for tumor in case.record["tumors"])
        assert drawn == pytest.approx(recorded, abs=0.05)
        assert all(8 <= tumor["radius_mm"] <= 35 for tumor in case.record["tumors"])


def test_dark_tumors_are_darker_than_the_liver():
    differences = []
    for index in range(2, 40, 5):
        case = draw_phantom(seed=0, index=index, preset="mini")
        rows = case.record["tumors"]
        if len(rows) == 1 and rows[0]["host"] == "liver" and rows[0]["kind"] == "dark":
            image, truth = case.image.array, case.truth.array
            if (truth == 14).sum() > 20:
                differences.append(image[truth == 1].mean() - image[truth == 14].mean())
    assert differences
    assert np.mean(differences) > 20


def test_record_is_json(mini):
    for case in mini:
        assert json.loads(json.dumps(case.record)) == case.record
        assert set(case.record["errors"]) == {"A", "B"}
        for log in case.record["errors"].values():
            assert {k for labels in log.values() if isinstance(labels, list) for k in labels} <= FEW


def test_pseudo_labels_hold_organs_only(mini):
    for case in mini:
        for volume in case.pseudo.values():
            assert set(np.unique(volume.array)) <= FEW - {14}


def test_pseudo_labels_are_as_good_as_calibrated_and_fusion_beats_both(mini):
    organs = sorted(FEW - {0, 14})
    rows = []
    for case in mini:
        a, b = (case.pseudo[name].array.astype(int) for name in "AB")
        referee = np.zeros_like(a) if case.partial is None else case.partial.array
        maps = (a, b, fused(a, b, referee))
        rows.append([mean_dice(labels, case.truth.array, organs) for labels in maps])
    a, b, fusion = np.mean(rows, axis=0)
    assert 0.80 < a < 0.92
    assert 0.80 < b < 0.92
    assert fusion > max(a, b) + 0.04
    wins = sum(row[2] > max(row[:2]) for row in rows)
    assert wins >= 18


def test_without_errors_the_sets_are_nearly_true(mini):
    calm = ErrorModel(omission=0, jitter=0, confusion=0)
    case = draw_phantom(seed=0, index=0, preset="mini", errors=calm)
    organs = sorted(FEW - {0, 14})
    without_tumor = case.truth.array != 14
    for volume in case.pseudo.values():
        score = mean_dice(volume.array * without_tumor, case.truth.array * without_tumor, organs)
        assert score > 0.9


def test_correlated_sets_share_their_missing_tips():
    def agreement(correlation):
        errors = ErrorModel(correlation=correlation)
        shared = []
        for index in range(12):
            case = draw_phantom(seed=1, index=index, preset="unit", errors=errors)
            wrong = [volume.array != case.truth.array for volume in case.pseudo.values()]
            shared.append((wrong[0] & wrong[1]).sum() / (wrong[0] | wrong[1]).sum())
        return np.mean(shared)

    assert agreement(1.0) > agreement(0.0) + 0.05


def test_error_log_names_what_happened(small):
    log = small[0].record["errors"]
    assert 5 in log["A"]["missing top"]
    assert log["A"]["missing tail"] == [4]
    assert log["A"]["tumor as"] in ("host", "background")
    truth, a = small[0].truth.array, small[0].pseudo["A"].array
    top_of = [np.flatnonzero((labels == 5).any(axis=(1, 2))).max() for labels in (truth, a)]
    assert top_of[1] < top_of[0] - 5


def test_centers_have_their_shares_and_every_beginning_is_a_mixture():
    names = [center_of(k).name for k in range(100)]
    assert names.count("C7") == 45
    assert names.count("C0") == 10
    assert set(names) == set(CENTERS)
    assert set(names[:6]) >= {"C0", "C1", "C7"}
    assert center_of(FIRST_TEST_INDEX).name == "C0"


def test_stress_is_tall_fine_and_has_no_pseudo_labels():
    case = draw_phantom(seed=0, index=0, preset="stress", shape=(20, 96, 96))
    assert case.pseudo == {}
    assert phantom_preset("stress").shape[1:] == (512, 512)
    extent = [n * s for n, s in zip(case.image.shape, case.image.geometry.spacing_mm, strict=True)]
    assert extent == pytest.approx([275.0, 358.4, 358.4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "huge"}, "preset must be one of unit, mini, small, h200, stress, got 'huge'"),
        ({"seed": -1}, "seed and index must be >= 0"),
        ({"index": -1}, "seed and index must be >= 0"),
        ({"shape": (0, 4, 4)}, "shape must be positive"),
        ({"spacing_mm": (0.0, 4.0, 4.0)}, "spacing_mm must be positive"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        draw_phantom(**{"seed": 0, "index": 0, "preset": "unit", **arguments})


@pytest.mark.parametrize("name", ["omission", "jitter", "confusion", "correlation"])
def test_error_model_checks_its_knobs(name):
    with pytest.raises(ValueError, match=name):
        ErrorModel(**{name: -0.1})
