"""Logs, what is derived from them, and their JSON."""

import json
from dataclasses import replace

import pytest

from flare_metrics.efficiency.derivation import measurement_of
from flare_metrics.efficiency.levels import Level
from flare_metrics.efficiency.measurement import Measurement, read_measurement
from flare_metrics.efficiency.samples import (
    GpuDevice,
    SampleLog,
    Samples,
    official_columns,
    read_log,
)
from flare_metrics.errors import UnreadableFileError

DEVICE = GpuDevice(index=1, name="RTX", uuid="GPU-1", driver="570", total_mib=16000.0)


def make_log(**changes):
    """Five samples of 4 processors: one before, an additional one at the start, three after."""
    samples = Samples(
        time_s=(99.9, 100.0, 100.1, 100.3, 100.4),
        scheduled=(True, False, True, True, False),
        host_user_s=(10.0, 10.0, 10.2, 10.6, 10.6),
        host_system_s=(5.0, 5.0, 5.0, 5.1, 5.1),
        host_idle_s=(50.0, 50.4, 50.6, 50.7, 51.1),
        host_busy_s=(20.0, 20.0, 20.2, 20.7, 20.7),
        host_total_s=(80.0, 80.4, 80.8, 81.6, 82.0),
        host_ram_mib=(1000.0, 1000.0, 1200.0, 1400.0, 1100.0),
        tree_ram_mib=(None, 10.0, 200.0, 300.0, 0.0),
        tree_peak_mib=(None, 10.0, 250.0, 300.0, 0.0),
        tree_cpu_s=(None, 0.0, 0.1, 0.5, 0.5),
        tree_processes=(None, 1, 3, 2, 0),
        gpu_mib=(400.0, 400.0, 900.0, 1400.0, 400.0),
        gpu_reserved_mib=(300.0, 300.0, 300.0, 301.0, 300.0),
        gpu_tree_mib=(None, 0.0, 480.0, 980.0, 0.0),
    )
    log = SampleLog(interval_s=0.1, device=DEVICE, notes=(), samples=samples)
    return replace(log, **changes)


def make_measurement(**changes):
    return measurement_of(
        make_log(),
        **{"start_s": 100.0, "end_s": 100.35, "name": "a_0000.nii.gz", "started": "t"} | changes,
    )


def test_official_columns_take_the_scheduled_samples_within_the_time():
    gpu, cpu, ram = official_columns(
        replace(make_log().samples, time_s=(-0.1, 0.0, 0.1, 0.3, 0.4)), 0.35
    )
    assert gpu == [900.0, 1400.0]
    assert ram == [1200.0, 1400.0]
    # Against the scheduled sample before: 0.2 user, 0 system, 0.6 idle over 0.9; then
    # 0.4, 0.1, 0.1 over 0.7.
    assert cpu[0] == pytest.approx((200 / 9, 0, 600 / 9))
    assert cpu[1] == pytest.approx((400 / 7, 100 / 7, 100 / 7))


def test_the_row_of_the_challenge():
    row = make_measurement().official.row()
    assert row["Name"] == "a_0000.nii.gz"
    assert (row["MaxGPU_Mem"], row["AUC_GPU_Time"]) == (1400.0, 230.0)
    assert (row["MaxRAM"], row["AUC_RAM_Time"]) == (1400.0, 260.0)
    # Loads of 33.33 and 85.71 %.
    assert (row["MaxCPU_Utilization"], row["AUC_CPU_Time"]) == (85.71, 11.9)


def test_true_areas_stand_beside_it():
    result = make_measurement()
    # Held at 400 up to 0 s; (400 + 900) / 2 x 0.1 + (900 + 1400) / 2 x 0.2 + 1400 x 0.05
    assert result.gpu_mib.area == pytest.approx(365.0)
    assert result.gpu_mib.baseline == 400.0
    assert result.gpu_mib.above_baseline == 1000.0
    assert result.gpu_mib.area_above_baseline == pytest.approx(365.0 - 140.0)
    assert result.gpu_reserved_mib == 301.0
    assert result.ram_mib.area == pytest.approx(110.0 + 260.0 + 70.0)
    assert result.tree_gpu_mib.peak == 980.0


def test_the_tree_peaks_between_samples_and_starts_from_nothing():
    result = measurement_of(
        make_log(),
        start_s=100.05,
        end_s=100.2,
        name="",
        started="",
    )
    assert result.tree_ram_mib.peak == 300.0
    assert result.tree_ram_mib.baseline == 10.0
    assert make_measurement().tree_ram_mib.above_baseline == 290.0
    assert result.processes == 3


def test_the_system_may_know_a_higher_peak_and_more_time():
    result = make_measurement(counted=(0.7, 450.0))
    assert result.tree_ram_mib.peak == 450.0
    assert result.tree_cpu_percent.area / 100 == pytest.approx(0.7)
    assert make_measurement().tree_cpu_percent.area / 100 == pytest.approx(0.5)


def test_the_load_of_the_machine_leaves_out_idle_and_waiting():
    result = make_measurement()
    # From 99.9 to 100.4 s: 0.7 of 2 s.
    assert result.cpu_percent.mean == pytest.approx(35.0)
    assert result.cpu_percent.peak == pytest.approx(100 * 0.5 / 0.8)


def test_unseen_processes_have_no_level():
    unseen = dict.fromkeys(
        ("tree_ram_mib", "tree_peak_mib", "tree_cpu_s", "gpu_tree_mib"), (None,) * 5
    )
    log = make_log(samples=replace(make_log().samples, **unseen))
    result = measurement_of(log, start_s=100.0, end_s=100.35, name="", started="")
    assert result.tree_ram_mib is result.tree_cpu_percent is result.tree_gpu_mib is None


def test_a_time_without_scheduled_samples_says_so():
    result = make_measurement(end_s=100.05)
    assert result.official.row()["MaxRAM"] == ""
    assert "shorter than one sampling step" in result.notes[0]


def test_another_interval_is_noted_and_taken_as_the_step():
    log = make_log(interval_s=0.5)
    result = measurement_of(log, start_s=100.0, end_s=100.35, name="", started="")
    assert result.official.area_ram_mib_s == 1300.0
    assert "sampled every 0.5 s; the challenge samples every 0.1 s" in result.notes[0]


def test_an_end_before_the_start_is_refused():
    with pytest.raises(ValueError, match=r"end_s must be >= start_s, got 99\.0 and 100\.0"):
        make_measurement(end_s=99.0)


def test_json_comes_back_equal(tmp_path):
    result = make_measurement(exit_code=-9)
    result.write(tmp_path / "a.json")
    assert read_measurement(tmp_path / "a.json") == result
    small = Measurement.from_json(json.loads(json.dumps(result.to_json(samples=False))))
    assert small == replace(result, samples=Samples())
    assert isinstance(small.gpu_mib, Level)


def test_the_json_holds_what_the_script_of_the_challenge_reads(tmp_path):
    make_measurement().write(tmp_path / "a.json")
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["gpu_memory"] == [900.0, 1400.0]
    assert [len(shares) for shares in record["cpu_list"]] == [3, 3]
    assert record["RAM_list"] == [1200.0, 1400.0]
    assert record["time"] == pytest.approx(0.35)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"measurement": {}}', '{"measurement": {"official": {"x": 1}}}'],
)
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UnreadableFileError, match=r"a\.json: must hold a measurement"):
        read_measurement(tmp_path / "a.json")


def test_columns_of_samples_must_agree():
    record = make_log().samples.to_json()
    assert Samples.from_json(record) == make_log().samples
    with pytest.raises(ValueError, match="equal lengths"):
        Samples.from_json(record | {"gpu_mib": [1.0]})
    del record["gpu_mib"]
    with pytest.raises(ValueError, match="must have a column 'gpu_mib'"):
        Samples.from_json(record)


def log_lines(*samples, head=None):
    head = head or {"version": 1, "interval_s": 0.1, "device": None, "notes": ["no GPU"]}
    return [json.dumps(head), *(json.dumps(sample) for sample in samples)]


def one_sample(**changes):
    names = make_log().samples.to_json()
    return {"sample": dict.fromkeys(names, 1.0) | {"scheduled": True} | changes}


def test_a_log_that_was_cut_off_loses_its_last_line(tmp_path):
    path = tmp_path / "log"
    whole = "\n".join(log_lines(one_sample(), one_sample(gpu_mib=None) | {"notes": ["GPU gone"]}))
    path.write_text(whole + '\n{"sample": {"ti')
    log = read_log(path)
    assert log.notes == ("no GPU", "GPU gone")
    assert log.samples.gpu_mib == (1.0, None)
    assert log.device is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "must be the log of a sampling process"),
        (["text"], "must be the log of a sampling process"),
        (["[]"], "must be the log of a sampling process"),
        (log_lines({"sample": {"time_s": 1}}), "must be the log of a sampling process"),
        (
            log_lines(head={"version": 9, "interval_s": 1, "device": None}),
            "must be a log of version 1, found 9",
        ),
    ],
)
def test_other_files_are_no_logs(tmp_path, lines, message):
    (tmp_path / "log").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(UnreadableFileError, match=message):
        read_log(tmp_path / "log")
