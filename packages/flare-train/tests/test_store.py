import json

import numpy as np
import pytest

from flare_train.errors import TrainingDataError
from flare_train.sampling import cut_patch
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


def test_patches_from_file_equal_patches_from_memory(tmp_path, make_case):
    case = make_case(1)
    write_stored_case(tmp_path, case)
    mapped = read_stored_case(tmp_path, case.id, in_memory=False)
    start, patch = (-2, 3, 5), (8, 9, 12)
    np.testing.assert_array_equal(
        cut_patch(mapped.image, start, patch), cut_patch(case.image, start, patch)
    )


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
    write_stored_case(tmp_path, arrays())
    assert read_stored_case(tmp_path, "a").present == frozenset()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros((4, 5, 7), np.uint8)}, "on the grid of the labels"),
        ({"image": np.full((1, 4, 5, 6), np.nan, np.float32)}, "found 120 NaN or infinite"),
        ({"labels": np.full((4, 5, 6), 300)}, r"label ids must lie in 0\.\.255, found 300 to 300"),
    ],
    ids=["grids", "nan", "labels"],
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

    def fail_at_the_second(path, array):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_array", fail_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        write_stored_case(tmp_path, make_case(0))
    assert stored_key(tmp_path, "case_0") is None
