import threading
from pathlib import Path

import numpy as np
import pytest

from flare_infer import read_ahead
from flare_infer.case_input import CaseInput
from flare_infer.inputs import CaseFiles
from flare_infer.predictor import Predictor
from flare_infer.read_ahead import ReadAhead, reading_mib, room_beside
from flare_io.errors import UnreadableVolumeError
from flare_io.files import write_volume
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

GRID = Geometry((5.0, 1.0, 1.0))
CASES = tuple(CaseFiles(name, (Path(name),)) for name in "abc")
VOLUME = Volume(np.zeros((2, 3, 4), np.int16), GRID)


class Reader:
    """Reads cases and remembers which thread read what."""

    def __init__(self, *, kept=(), broken=(), broken_ahead=()):
        self.read = []
        self._kept, self._broken, self._broken_ahead = kept, broken, broken_ahead

    def __call__(self, case):
        ahead = threading.current_thread() is not threading.main_thread()
        self.read.append((case.id, ahead))
        if case.id in self._broken or (ahead and case.id in self._broken_ahead):
            raise UnreadableVolumeError(case.paths[0], "is broken", kind="corrupt")
        kept = case.id in self._kept
        return CaseInput(case.id, kept=kept, channels=[] if kept else [VOLUME])

    @property
    def ahead(self):
        return [name for name, ahead in self.read if ahead]

    @property
    def in_turn(self):
        return [name for name, ahead in self.read if not ahead]


def ahead_of(reader, *, room_mib=10.0, needed_mib=1.0):
    return ReadAhead(
        CASES, reader, room_mib=lambda present: room_mib, needed_mib=lambda case: needed_mib
    )


def is_left():
    return any(each.name.startswith("flare-infer-read") for each in threading.enumerate())


def test_each_case_is_read_once_all_but_the_first_ahead():
    reader = Reader()
    with ahead_of(reader) as ahead:
        assert [ahead.take(case).key for case in CASES] == ["a", "b", "c"]
    assert reader.in_turn == ["a"]
    assert reader.ahead == ["b", "c"]
    assert not is_left()


@pytest.mark.parametrize(("room_mib", "expected"), [(0.99, []), (1.0, ["b", "c"])])
def test_without_room_for_two_cases_are_read_one_by_one(room_mib, expected):
    reader = Reader()
    with ahead_of(reader, room_mib=room_mib) as ahead:
        assert [ahead.take(case).key for case in CASES] == ["a", "b", "c"]
    assert reader.ahead == expected


def test_what_fails_ahead_only_is_read_in_its_turn():
    reader = Reader(broken_ahead="b")
    with ahead_of(reader) as ahead:
        assert [ahead.take(case).key for case in CASES] == ["a", "b", "c"]
    assert reader.in_turn == ["a", "b"]
    assert reader.ahead == ["b", "c"]


def test_a_broken_case_raises_in_its_turn_and_costs_no_other():
    reader = Reader(broken="b")
    with ahead_of(reader) as ahead:
        assert ahead.take(CASES[0]).key == "a"
        with pytest.raises(UnreadableVolumeError, match="is broken"):
            ahead.take(CASES[1])
        assert ahead.take(CASES[2]).key == "c"
    assert reader.in_turn == ["a", "b", "c"]


def test_behind_a_kept_case_nothing_is_read_ahead():
    reader = Reader(kept="a")
    with ahead_of(reader) as ahead:
        assert [ahead.take(case).kept for case in CASES] == [True, False, False]
    assert reader.ahead == ["c"]


def test_a_run_that_ends_early_leaves_no_thread():
    reader = Reader()
    with pytest.raises(KeyboardInterrupt), ahead_of(reader) as ahead:
        ahead.take(CASES[0])
        raise KeyboardInterrupt
    assert not is_left()


def test_channels_are_forgotten_when_they_are_handed_over():
    found = CaseInput("key", kept=False, channels=[VOLUME, VOLUME])
    assert list(found.handed_over()) == [VOLUME, VOLUME]
    assert found.channels == []


def test_room_is_what_the_plan_leaves_of_the_budget(model_folder, ct, monkeypatch):
    found = CaseInput("key", kept=False, channels=[ct])
    planned = Predictor.load(model_folder, device="cpu").explain(
        ct.shape, spacing_mm=ct.geometry.spacing_mm, voxel_bytes=2, measure=False
    )
    budget = Predictor.load(model_folder, device="cpu", memory_mib=planned.peak_mib + 7)
    assert room_beside(budget, None, found) == 7
    free = Predictor.load(model_folder, device="cpu")
    monkeypatch.setattr(read_ahead, "available_bytes", lambda: (planned.peak_mib + 40) << 20)
    assert room_beside(free, None, found) == 40
    monkeypatch.setattr(read_ahead, "available_bytes", lambda: None)
    assert room_beside(free, None, found) == -planned.peak_mib


@pytest.mark.parametrize(
    ("policy", "expected"), [(ReadPolicy(), 4), (ReadPolicy(hu_offset=-1024.0), 12)]
)
def test_reading_takes_twice_the_voxels_and_more_to_shift_them(tmp_path, policy, expected):
    # 2**20 voxels of two bytes.
    volume = Volume(np.zeros((16, 256, 256), np.int16), GRID)
    paths = (tmp_path / "one.nii.gz", tmp_path / "two.mha")
    for path in paths:
        write_volume(volume, path)
    assert reading_mib(CaseFiles("a", paths[:1]), policy) == expected
    assert reading_mib(CaseFiles("a", paths), policy) == 2 * expected


def test_a_header_that_is_refused_says_so(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"")
    with pytest.raises(UnreadableVolumeError):
        reading_mib(CaseFiles("a", (tmp_path / "a.nii",)), ReadPolicy())
