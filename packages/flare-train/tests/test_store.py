import json

import numpy as np
import pytest

from flare_train.errors import TrainingDataError
from flare_train.store import StoredCase, read_stored_case, stored_key, write_stored_case


def arrays(**changes):
    given = {
        "image": np.zeros((1, 4, 5, 6), np.float32),
        "labels": np.zeros((4, 5, 6), np.uint8),
        "spacing_mm": (1.0, 1.0, 1.0),
        "annotated": frozenset({1}),
    }
    given.update(changes)
    image, labels = given.pop("image"), given.pop("labels")
    return StoredCase.from_arrays("a", image, labels, **given)


@pytest.mark.parametrize("in_memory", [True, False])
def test_round_trip(tmp_path, in_memory, make_case):
    case = make_case(0)
    write_stored_case(tmp_path, case)
    read = read_stored_case(tmp_path, case.id, in_memory=in_memory)
    np.testing.assert_array_equal(read.image[:], case.image)
    np.testing.assert_array_equal(read.labels[:], case.labels)
    assert (read.spacing_mm, read.annotated, read.key) == (
        case.spacing_mm,
        case.annotated,
        case.key,
    )
    assert read.present == case.present == {1, 14}
    for label in case.present:
        np.testing.assert_array_equal(read.locations(label), case.locations(label))


def test_origins_and_unstated_voxels_round_trip(tmp_path):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0], labels[1] = 255, 1
    origins = (labels == 1).astype(np.uint8) * 5
    case = arrays(labels=labels, origins=origins)
    write_stored_case(tmp_path, case)
    for in_memory in (True, False):
        read = read_stored_case(tmp_path, "a", in_memory=in_memory)
        np.testing.assert_array_equal(read.origins[:], origins)
        np.testing.assert_array_equal(read.labels[:], labels)
        assert read.present == {1}
        assert len(read.stated) == 3 * 30
        assert (labels[tuple(read.stated.T)] != 255).all()
        np.testing.assert_array_equal(read.stated, case.stated)


def test_case_without_origins_after_one_with_them(tmp_path):
    origins = np.zeros((4, 5, 6), np.uint8)
    write_stored_case(tmp_path, arrays(origins=origins))
    write_stored_case(tmp_path, arrays())
    assert read_stored_case(tmp_path, "a").origins is None


def test_large_arrays_are_read_in_pieces(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 40, 150, 130)).astype(np.float32)
    labels = rng.integers(0, 3, (40, 150, 130))
    write_stored_case(tmp_path, arrays(image=image, labels=labels))
    read = read_stored_case(tmp_path, "a", in_memory=False)
    assert (read.image.chunks, read.image.blocks) == ((1, 32, 128, 128), (1, 8, 32, 64))
    box = np.s_[:, 30:40, 100:150, 5:77]
    np.testing.assert_array_equal(read.image[box], image[box].astype(np.float16))
    np.testing.assert_array_equal(read.labels[box[1:]], labels[box[1:]])


def test_values_beyond_half_precision_are_clipped():
    image = np.zeros((1, 4, 5, 6))
    image[0, 0, 0, :2] = 1e9, -1e9
    given = image.copy()
    assert arrays(image=image).image[0, 0, 0, :2].tolist() == [65504.0, -65504.0]
    np.testing.assert_array_equal(image, given)


def test_voxels_are_where_the_labels_are(make_case):
    case = make_case(2)
    for label in case.present:
        assert (case.labels[tuple(case.locations(label).T)] == label).all()
        assert len(case.locations(label)) == (case.labels == label).sum()
    assert case.locations(7).shape == (0, 3)


def test_large_labels_are_sampled_the_same_every_time():
    labels = np.ones((30, 30, 30), np.uint8)
    first = arrays(labels=labels, image=np.zeros((1, 30, 30, 30), np.float32))
    again = arrays(labels=labels, image=np.zeros((1, 30, 30, 30), np.float32))
    assert len(first.locations(1)) == 10_000
    assert len(np.unique(first.locations(1), axis=0)) == 10_000
    np.testing.assert_array_equal(first.locations(1), again.locations(1))


def test_case_without_labels_round_trips(tmp_path):
    write_stored_case(tmp_path, arrays(labels=None, annotated=frozenset()))
    read = read_stored_case(tmp_path, "a")
    assert (read.present, read.annotated, read.stated) == (frozenset(), frozenset(), None)
    assert (read.labels.shape, read.labels.max()) == ((4, 5, 6), 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros((4, 5, 7), np.uint8)}, "on the grid of the labels"),
        ({"image": np.full((1, 4, 5, 6), np.nan, np.float32)}, "found 120 NaN or infinite"),
        ({"labels": np.full((4, 5, 6), 300)}, r"label ids must lie in 0\.\.255, found 300 to 300"),
        ({"origins": np.full((4, 5, 6), -1)}, r"codes of origin must lie in 0\.\.255, found -1"),
        ({"origins": np.zeros((4, 5, 7))}, "origins must lie on the grid of the labels"),
        ({"labels": None}, r"an unlabeled case annotates nothing, got K \[1\]"),
    ],
    ids=["grids", "nan", "labels", "codes", "origins", "unlabeled"],
)
def test_bad_arrays_name_the_case(changes, message):
    with pytest.raises(TrainingDataError, match=f"^a: .*{message}"):
        arrays(**changes)


def test_absent_damaged_or_foreign_cases_are_not_there(tmp_path, make_case):
    assert stored_key(tmp_path, "case_0") is None
    write_stored_case(tmp_path, make_case(0))
    assert stored_key(tmp_path, "case_0") == "key 0"
    image = tmp_path / "case_0.image.b2nd"
    image.write_bytes(image.read_bytes()[:-1])
    assert stored_key(tmp_path, "case_0") is None
    with pytest.raises(TrainingDataError, match="no whole case of this name"):
        read_stored_case(tmp_path, "case_0")
    write_stored_case(tmp_path, make_case(0))
    sidecar = tmp_path / "case_0.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"format": 99}))
    assert stored_key(tmp_path, "case_0") is None


def test_a_broken_rewrite_leaves_no_case_rather_than_a_mixed_one(tmp_path, monkeypatch, make_case):
    write_stored_case(tmp_path, make_case(0))
    import flare_train.store as store

    written = []

    def fail_at_the_second(path, kind, array):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_array", fail_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        write_stored_case(tmp_path, make_case(0))
    assert stored_key(tmp_path, "case_0") is None
