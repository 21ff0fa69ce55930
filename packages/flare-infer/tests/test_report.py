import errno
import json
from importlib import metadata

import pytest

from flare_infer.report import CaseRecord, Report, peak_memory_mib, previous_records
from flare_io import atomic

DONE = CaseRecord(
    id="a",
    state="done",
    inputs=("a.nii.gz",),
    output="a.nii.gz",
    key="k" * 64,
    output_sha256="0" * 64,
    seconds={"read": 0.5},
    notes=("2 bytes after the data",),
)


@pytest.fixture
def report(tmp_path):
    cases = {name: CaseRecord(id=name) for name in "abc"}
    return Report(path=tmp_path / "report.json", model={}, settings={"tta": False}, cases=cases)


def written(report):
    return json.loads(report.path.read_text())


def test_every_case_is_in_exactly_one_state_after_every_write(report):
    report.save()
    steps = [(0, 0, 3)]
    for record in (DONE, CaseRecord(id="b", state="failed", error={"kind": "truncated"})):
        report.put(record)
        content = written(report)
        steps.append((content["done"], content["failed"], content["not_started"]))
        assert [each["id"] for each in content["cases"]] == ["a", "b", "c"]
    assert steps == [(0, 0, 3), (1, 0, 2), (1, 1, 1)]
    assert written(report)["cases"][1]["error"] == {"kind": "truncated"}


def test_the_report_names_what_the_labels_depend_on(report):
    report.save()
    content = written(report)
    assert content["flare_infer"] == metadata.version("flare-infer")
    assert content["versions"] == {
        name: metadata.version(name)
        for name in ("flare-io", "flare-nets", "numpy", "openvino", "torch")
    }
    assert content["settings"] == {"tta": False}


def test_what_was_done_is_read_back_and_what_failed_is_not(report):
    report.put(DONE)
    report.put(CaseRecord(id="b", state="failed", error={"kind": "truncated"}))
    assert set(previous_records(report.path)) == {"a"}
    found = previous_records(report.path)["a"]
    assert (found.key, found.output_sha256, found.output) == (
        DONE.key,
        DONE.output_sha256,
        DONE.output,
    )


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", '{"cases": 3}', '{"cases": [{"id": "a", "strange": 1}]}']
)
def test_a_report_that_cannot_be_used_counts_as_none(tmp_path, text):
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text)
    assert previous_records(path) == {}


def test_j03_a_full_disk_at_any_operation_leaves_an_old_or_a_new_report(report, monkeypatch):
    report.save()
    operations = []
    monkeypatch.setattr(atomic, "failpoint", operations.append)
    report.save()
    assert operations[0] == "create"
    for number in range(len(operations)):
        report.cases["a"] = CaseRecord(id="a")
        monkeypatch.setattr(atomic, "failpoint", lambda operation: None)
        report.save()
        count = iter(range(len(operations)))

        def full(operation, *, count=count, number=number):
            if next(count) == number:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(atomic, "failpoint", full)
        with pytest.raises(OSError, match="No space left"):
            report.put(DONE)
        states = [each["state"] for each in written(report)["cases"]]
        assert states in (["not started"] * 3, ["done", "not started", "not started"])
        assert [path.name for path in report.path.parent.iterdir()] == ["report.json"]


def test_peak_memory_is_that_of_this_process_in_mib():
    found = peak_memory_mib()
    assert found is None or 10 < found < 2**20
