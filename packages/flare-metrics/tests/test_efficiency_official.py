"""The challenge's formulas on samples worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics.efficiency.official import (
    COLUMNS,
    Efficiency,
    official_area,
    official_cpu_percent,
    official_efficiency,
    official_ram_mib,
    stable_maximum,
)


def test_two_idle_cores_read_as_a_third_of_load():
    # 0.2 s of idle time in 0.1 s: 100 x 0.2 / (0.2 + 0.1) = 66.67 idle.
    user, system, idle = official_cpu_percent((5.0, 1.0, 10.0), (5.0, 1.0, 10.2))
    assert (user, system) == (0, 0)
    assert 100 - idle == pytest.approx(100 / 3)


def test_long_steps_make_the_added_tenth_small():
    # 32 cores over 10 s: 160 s user, 32 s system, 128 s idle, divided by 320.1.
    shares = official_cpu_percent((0, 0, 0), (160, 32, 128))
    assert shares == pytest.approx((49.984380, 9.996876, 39.987504), abs=1e-6)


def test_no_time_between_two_readings_is_full_load():
    assert official_cpu_percent((1, 2, 3), (1, 2, 3)) == (0, 0, 0)


def test_waiting_for_disks_is_no_time_at_all():
    # The caller hands three states only; 0.1 s of each gives a quarter each.
    assert official_cpu_percent((0, 0, 0), (0.1, 0.1, 0.1)) == pytest.approx((25, 25, 25))


@given(st.lists(st.floats(0, 1e4), min_size=3, max_size=3))
@settings(max_examples=30)
def test_shares_stay_below_100(deltas):
    shares = official_cpu_percent((0.0, 0.0, 0.0), deltas)
    assert 0 <= sum(shares) < 100 + 1e-9


def test_used_memory_is_less_by_buffers_and_cache():
    # 16 GiB: 4 free, 1 in buffers, 5 in cache and reclaimable: 6 GiB.
    gib = 2**20
    used = official_ram_mib(
        total_kib=16 * gib, free_kib=4 * gib, buffers_kib=1 * gib, cached_kib=5 * gib
    )
    assert used == 6 * 1024


def test_a_cache_larger_than_the_memory_is_left_out():
    used = official_ram_mib(total_kib=4096, free_kib=1024, buffers_kib=0, cached_kib=8192)
    assert used == 3.0


def test_the_area_counts_each_sample_for_a_tenth():
    assert official_area([327.0, 1000.0, 2000.5]) == pytest.approx(332.75)
    assert official_area([1.0, 2.0], step_s=0.5) == 1.5
    assert official_area([]) == 0


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], None),
        ([7.0], 7.0),
        # 2 of 100 samples are not more than 2 %, 3 are.
        ([1.0] * 98 + [9.0] * 2, 1.0),
        ([1.0] * 97 + [9.0] * 3, 9.0),
        # One of 49 is 2.04 %; one of 50 is not more than 2 %.
        ([float(n) for n in range(49)], 48.0),
        ([float(n) for n in range(50)], None),
    ],
)
def test_the_stable_maximum_holds_more_than_2_percent(samples, expected):
    assert stable_maximum(samples) == expected


def test_a_row_by_hand():
    result = official_efficiency(
        name="FLARE23Ts_0001_0000.nii.gz",
        time_s=12.3456,
        gpu_mib=[327.3125] * 60 + [2531.5625] * 59 + [3000.0],
        cpu_percent=[33.3333, 90.126, 50.0],
        ram_mib=[4096.004, 8000.505, 5000.0],
    )
    assert result.row() == {
        "Name": "FLARE23Ts_0001_0000.nii.gz",
        "Time": 12.35,
        "MaxGPU_Mem": 3000.0,
        # (19638.75 + 149362.1875 + 3000) / 10 = 17200.09375
        "AUC_GPU_Time": 17200.0,
        "MaxCPU_Utilization": 90.13,
        # 173.4593 / 10
        "AUC_CPU_Time": 17.35,
        # Scaled by 100 it is 800050.5, which goes to the even neighbor.
        "MaxRAM": 8000.5,
        # 17096.509 / 10
        "AUC_RAM_Time": 1710.0,
    }
    assert result.stable_gpu_mib == 2532.0


def test_nothing_measured_is_an_empty_cell():
    row = official_efficiency(name="a", time_s=1.0, gpu_mib=[], cpu_percent=[], ram_mib=[]).row()
    assert tuple(row) == COLUMNS
    assert list(row.values()) == ["a", 1.0, "", "", "", "", "", ""]


def test_zero_is_no_empty_cell():
    assert Efficiency(name="a", time_s=0.0, max_gpu_mib=0.0).row()["MaxGPU_Mem"] == 0.0


@given(
    st.floats(0, 1e5),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
    st.lists(st.floats(0, 100), min_size=1, max_size=20),
)
@settings(max_examples=50)
def test_equal_to_numpy_as_the_script_uses_it(time_s, memory, load):
    row = official_efficiency(
        name="a", time_s=time_s, gpu_mib=memory, cpu_percent=load, ram_mib=memory
    ).row()
    expected = [
        np.round(time_s, 2),
        np.round(max(memory)),
        np.round(sum(memory) * 0.1),
        np.round(max(load), 2),
        np.round(sum(load) * 0.1, 2),
        np.round(max(memory), 2),
        np.round(sum(memory) * 0.1),
    ]
    assert list(row.values())[1:] == expected
