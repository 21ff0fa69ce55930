import pickle

import pytest

from flare_io.errors import DatasetError, GeometryError, LabelError, UnreadableVolumeError

CLASSES = [
    (UnreadableVolumeError, OSError),
    (GeometryError, ValueError),
    (LabelError, ValueError),
    (DatasetError, ValueError),
]


@pytest.mark.parametrize(("error", "base"), CLASSES)
def test_one_shape_for_all(error, base):
    caught = error("a.nii", "must be whole", found="half", remedy="copy it again", kind="truncated")
    assert isinstance(caught, base) and caught.exit_code == 3
    assert str(caught) == "a.nii: must be whole, found half; copy it again"
    assert caught.record() == {
        "kind": "truncated",
        "source": "a.nii",
        "rule": "must be whole",
        "found": "half",
        "remedy": "copy it again",
    }


@pytest.mark.parametrize(("error", "base"), CLASSES)
def test_parts_may_be_missing(error, base):
    assert str(error("a.nii", "must be whole")) == "a.nii: must be whole"


def test_a_hostile_name_stays_on_one_line():
    assert "\n" not in str(GeometryError("a\nflare-io: all fine\r.nii", "is bad"))


@pytest.mark.parametrize("kind", [DatasetError, GeometryError, LabelError, UnreadableVolumeError])
def test_errors_come_back_whole_from_another_process(kind):
    error = kind("a.nii", "must be whole", found="half", remedy="copy it", kind="truncated")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(copy) is kind
    assert copy.record() == error.record()
    assert str(copy) == str(error)
