"""GPU memory from a made-up NVML."""

import json
import sys
from pathlib import Path

import pytest

from flare_metrics.efficiency import measure_efficiency
from flare_metrics.efficiency._nvml import open_gpu
from flare_metrics.efficiency.container import container_gpu
from flare_metrics.efficiency.samples import GpuDevice

FAKE = Path(__file__).parent / "fake_nvml"
FIRST = {"uuid": "GPU-aaaa-1", "name": "RTX 5000", "total": 16384, "used": [400]}
SECOND = {"uuid": "GPU-bbbb-2", "name": "H200", "total": 143771, "used": [600]}


@pytest.fixture
def nvml(tmp_path, monkeypatch):
    """Return a function that describes the devices of this machine."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.setenv("FAKE_NVML", str(tmp_path / "nvml.json"))

    def describe(*devices, **more):
        (tmp_path / "nvml.json").write_text(json.dumps({"devices": devices, **more}))

    describe(FIRST, SECOND)
    yield describe
    sys.modules.pop("pynvml", None)


def opened(gpu=None, *, known=()):
    reader, notes = open_gpu(gpu, exists=lambda pid: pid in known)
    assert notes == ()
    return reader


def test_the_first_device_is_the_default(nvml):
    assert opened().device == GpuDevice(
        index=0, name="RTX 5000", uuid="GPU-aaaa-1", driver="570.1", total_mib=16384.0
    )


@pytest.mark.parametrize(("gpu", "index"), [("0", 0), ("1", 1), ("GPU-bbbb-2", 1), ("GPU-a", 0)])
def test_a_device_by_index_or_uuid(nvml, gpu, index):
    assert opened(gpu).device.index == index


@pytest.mark.parametrize("gpu", ["2", "GPU-", "GPU-c", "-1", "RTX"])
def test_a_device_that_is_not_there_is_refused(nvml, gpu):
    with pytest.raises(ValueError, match=rf"got '{gpu}'; NVML sees 2 devices"):
        open_gpu(gpu, exists=bool)


def test_used_is_total_less_free(nvml):
    nvml(FIRST | {"used": [400, 900.5]})
    reader = opened()
    assert reader.read(()).used_mib == 400.0
    assert reader.read(()).used_mib == 900.5


def test_what_the_driver_reserves(nvml):
    nvml(FIRST | {"reserved": 312})
    reader = opened()
    assert reader.read(()).reserved_mib == 312.0
    assert reader.notes == []


@pytest.mark.parametrize("code", [3, 4])
def test_a_driver_that_does_not_tell_what_it_reserves(nvml, code):
    nvml(FIRST, errors={"nvmlDeviceGetMemoryInfo_v2": code})
    reader = opened()
    assert [reader.read(()).reserved_mib for _ in range(3)] == [None, None, None]
    assert len(reader.notes) == 1
    assert "NVML does not tell what the driver reserves" in reader.notes[0]


def test_memory_of_the_measured_processes(nvml):
    # 11 computes and draws: in both lists with the same number.
    nvml(FIRST | {"compute": [[11, 500], [12, 300], [99, 4000]], "graphics": [[11, 500], [13, 7]]})
    reader = opened(known={11, 12, 13, 99})
    assert reader.read({11, 12, 13}).tree_mib == 807.0
    assert reader.read({14}).tree_mib == 0.0


def test_no_processes_on_the_device_hold_nothing(nvml):
    assert opened().read({11}).tree_mib == 0.0


def test_a_system_that_does_not_tell_memory_of_processes(nvml):
    nvml(FIRST | {"compute": [[11, None]]})
    reader = opened(known={11})
    assert reader.read({12}).tree_mib == 0.0
    assert reader.read({11}).tree_mib is None
    assert "NVML does not tell the memory of each process" in reader.notes


def test_a_system_that_does_not_list_processes(nvml):
    nvml(FIRST, errors={"nvmlDeviceGetComputeRunningProcesses": 3})
    reader = opened()
    reading = reader.read({11})
    assert (reading.used_mib, reading.tree_mib) == (400.0, None)
    assert "NVML does not list processes: Not Supported" in reader.notes


def test_numbers_of_another_namespace_are_unknown_and_noted(nvml):
    nvml(FIRST | {"compute": [[70001, 500]]})
    reader = opened(known={11})
    readings = [reader.read({11}).tree_mib for _ in range(12)]
    assert set(readings) == {None}
    assert [note for note in reader.notes if "inside a container" in note] == reader.notes[-1:]


def test_one_process_that_is_just_ending_is_no_other_namespace(nvml):
    nvml(FIRST | {"compute": [[70001, 500]], "reserved": 1})
    reader = opened(known={11})
    assert reader.read({11}).tree_mib is None
    nvml(FIRST | {"compute": [[11, 100]], "reserved": 1})
    assert reader.read({11}).tree_mib == 100.0
    assert reader.notes == []


def test_a_lost_gpu_leaves_a_gap_and_a_note(nvml):
    nvml(FIRST, errors={"nvmlDeviceGetMemoryInfo": 15}, error_from={"nvmlDeviceGetMemoryInfo": 2})
    reader = opened()
    assert reader.read(()).used_mib == 400.0
    assert reader.read(()) == (None, None, None)
    assert "GPU memory could not be read at some times: GPU is lost" in reader.notes


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"errors": {"nvmlInit": 12}}, "NVML: NVML Shared Library Not Found"),
        ({"devices": []}, "NVML sees 0 devices"),
        ({"errors": {"nvmlDeviceGetMemoryInfo": 3}}, "NVML: Not Supported"),
    ],
)
def test_without_a_gpu_the_reason_is_told(nvml, state, reason):
    nvml(**({"devices": [FIRST]} | state)) if "devices" not in state else nvml()
    if "errors" in state:
        nvml(FIRST, **state)
    reader, notes = open_gpu(None, exists=bool)
    assert reader is None
    assert notes == (f"no GPU was watched: {reason}",)
    with pytest.raises(ValueError, match=f"gpu must be the index or UUID.*'0'; {reason}"):
        open_gpu("0", exists=bool)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    reader, notes = open_gpu(None, exists=bool)
    assert reader is None
    assert "nvidia-ml-py is not installed (extra 'resources')" in notes[0]


def test_none_asked_for(nvml):
    assert open_gpu("none", exists=bool) == (None, ("no GPU was watched: none was asked for",))


def test_a_container_gets_the_watched_device(nvml, monkeypatch):
    assert container_gpu(None) == "GPU-aaaa-1"
    assert container_gpu("1") == "GPU-bbbb-2"
    assert container_gpu("none") is None
    with pytest.raises(ValueError, match="'7'"):
        container_gpu("7")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert container_gpu(None) is None


def test_a_measurement_with_a_gpu(nvml):
    # One reading at the start, then 900 for good.
    nvml(FIRST | {"used": [400, 900], "reserved": 300, "compute": [["parent", 450]]})
    with measure_efficiency(interval_s=0.02) as meter:
        total = sum(range(10_000_000))
    result = meter.measurement
    assert total > 0
    assert result.device.name == "RTX 5000"
    assert (result.gpu_mib.baseline, result.gpu_mib.peak) == (400.0, 900.0)
    assert result.gpu_mib.above_baseline == 500.0
    assert result.gpu_reserved_mib == 300.0
    assert result.tree_gpu_mib.peak == 450.0
    assert result.official.max_gpu_mib == 900.0
    taken = len([v for v in result.samples.scheduled if v])
    assert 0 < result.official.area_gpu_mib_s <= round(taken * 900 * 0.02)


def test_a_gpu_that_gets_lost_on_the_way(nvml):
    nvml(FIRST, errors={"nvmlDeviceGetMemoryInfo": 15}, error_from={"nvmlDeviceGetMemoryInfo": 3})
    with measure_efficiency(interval_s=0.01) as meter:
        sum(range(5_000_000))
    assert meter.measurement.gpu_mib.peak == 400.0
    assert any("GPU is lost" in note for note in meter.measurement.notes)


def test_asking_for_a_missing_gpu_is_refused_before_the_work(nvml):
    with pytest.raises(ValueError, match="got '5'"), measure_efficiency(gpu="5"):
        raise AssertionError("the work must not start")
