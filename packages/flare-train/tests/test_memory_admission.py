import errno
import itertools
import json
import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_io.files import write_label_map, write_volume
from flare_io.geometry import Geometry
from flare_io.intensity import Intensity
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume
from flare_train.memory_admission import (
    groups_that_fit,
    preparation_bytes,
    run_admitted,
)

MIB = 2**20


needs = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 50), max_size=8)


@given(needs, st.integers(1, 6), st.integers(50, 200))
def test_groups_hold_everything_once_and_fit(needs, jobs, memory):
    groups = groups_that_fit(needs, jobs=jobs, memory_bytes=memory)
    names = [name for _, group in groups for name in group]
    assert sorted(names) == sorted(needs)
    for together, group in groups:
        assert 1 <= together <= jobs
        assert all(together * needs[name] <= memory for name in group)
        # One more at a time would not fit.
        assert together == jobs or all((together + 1) * needs[name] > memory for name in group)


def test_what_never_fits_is_refused_before_anything_runs():
    ran = []
    tasks = {"small": partial(ran.append, 1), "CT_7": partial(ran.append, 2)}
    needs = {"small": 1, "CT_7": 3 * 2**30}
    with pytest.raises(MemoryError, match=r"^CT_7: needs about 3\.0 GiB .* 1\.0 GiB may be taken"):
        list(run_admitted(tasks, needs, memory_bytes=2**30))
    assert ran == []


def test_without_a_limit_all_run_together():
    assert groups_that_fit({"a": 2**60}, jobs=3, memory_bytes=None) == [(3, ["a"])]
    with pytest.raises(ValueError, match="jobs must be >= 1, got 0"):
        groups_that_fit({}, jobs=0, memory_bytes=None)


def marked(folder, name):
    """Write when it ran, 0.2 s."""
    start = time.monotonic()
    time.sleep(0.2)
    (folder / name).write_text(f"{start} {time.monotonic()}")
    return name.upper()


def test_tasks_that_do_not_fit_together_run_one_after_the_other(tmp_path):
    names = ["a", "b", "c"]
    tasks = {name: partial(marked, tmp_path, name) for name in names}
    results = dict(run_admitted(tasks, dict.fromkeys(names, 60), jobs=2, memory_bytes=100))
    assert results == {name: name.upper() for name in names}
    spans = sorted([float(t) for t in (tmp_path / name).read_text().split()] for name in names)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


# What runs in other processes has to be importable there, which this file is not.
@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_task_costs_one_task(caplog, jobs):
    tasks = {
        "a": partial(str, 1),
        "b": partial(int, "broken"),
        "c": partial(operator.getitem, {}, "lost"),
        "d": partial(str, 4),
    }
    done = []
    with pytest.raises(ValueError, match=r"invalid literal .* 'broken'"):
        done.extend(run_admitted(tasks, dict.fromkeys(tasks, 1), jobs=jobs))
    # A list that grows keeps what came before the error.
    assert sorted(done) == [("a", "1"), ("d", "4")]
    assert [record.getMessage() for record in caplog.records] == ["c: 'lost'"]


def full_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_ends_at_once():
    ran = []
    tasks = {"a": full_disk, "b": partial(ran.append, 1)}
    with pytest.raises(OSError, match="No space left"):
        list(run_admitted(tasks, {"a": 2, "b": 1}))
    assert ran == []


def test_killed_process_is_told_as_lack_of_memory():
    tasks = {"a": partial(str, 1), "b": partial(signal.raise_signal, signal.SIGKILL)}
    with pytest.raises(MemoryError, match=r"a process was killed .* fewer jobs"):
        list(run_admitted(tasks, dict.fromkeys(tasks, 1), jobs=2))


MEASURE = """
import sys
from pathlib import Path
from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_train.cases import TrainingCase, build_store
import json
folder, preprocessing = Path(sys.argv[1]), Preprocessing.from_dict(json.loads(sys.argv[2]))
case = TrainingCase(id="a", image=(folder / "image.nii.gz",), label=folder / "labels.nii.gz",
                    annotated=frozenset({1}))
table = LabelTable.from_names("one", {"liver": 1})
build_store([case], preprocessing, folder / "store", table=table)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
# ru_maxrss would hold the size of the process that started this one.
print(int(status["VmHWM"].split()[0]) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("shape", "target_mm"),
    [((60, 256, 256), (5.0, 2.0, 2.0)), ((30, 160, 160), (1.0, 0.8, 0.8))],
    ids=["coarser", "finer"],
)
def test_prediction_covers_the_peak_and_is_not_far_above(tmp_path, shape, target_mm):
    rng = np.random.default_rng(0)
    geometry = Geometry((3.0, 1.0, 1.0))
    image = rng.integers(-1000, 1000, shape, dtype=np.int16)
    write_volume(Volume(image, geometry), tmp_path / "image.nii.gz")
    labels = np.zeros(shape, np.uint8)
    labels[10:20, 50:150, 50:150] = 1
    write_label_map(Volume(labels, geometry), tmp_path / "labels.nii.gz")
    scheme = Intensity(scheme="ct", mean=0, std=100, low=-900, high=900)
    preprocessing = Preprocessing(spacing_mm=target_mm, intensities=(scheme,))
    predicted = preparation_bytes([tmp_path / "image.nii.gz"], preprocessing, label_maps=1)
    words = [sys.executable, "-c", MEASURE, str(tmp_path), json.dumps(preprocessing.to_dict())]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    peak = int(found.stdout)
    # 320 MiB are set aside for a process with torch; this one has none.
    assert peak <= predicted <= 3 * peak + 320 * MIB
    assert predicted - 320 * MIB <= 2 * peak


def test_unreadable_header_needs_nothing(tmp_path):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(b"no volume")
    scheme = Intensity(scheme="none")
    preprocessing = Preprocessing(spacing_mm=None, intensities=(scheme,))
    assert preparation_bytes([path], preprocessing) == 0
