"""Costs in the report: every form that measuring leaves is read; official beside true figures."""

import json
import math
from dataclasses import replace

import pytest

from flare_metrics.efficiency import Measurement, Samples
from flare_metrics.efficiency.case_run import CaseMeasurement
from flare_metrics.efficiency.case_tables import write_tables
from flare_metrics.efficiency.levels import Level
from flare_metrics.efficiency.official import Efficiency
from flare_metrics.efficiency.samples import GpuDevice
from flare_metrics.errors import UnreadableFileError
from flare_metrics.report import report_html
from flare_metrics.report.cost_figures import COST_GROUPS, figures_present
from flare_metrics.report.efficiency import efficiency_section
from flare_metrics.report.markup import visible
from flare_metrics.report.measured import MeasuredCase, read_measured

from .report_cases import HOSTILE, case, folder, parsed, table_rows


def measurement(name="a", time_s=2.0, *, gpu=True, n=5):
    times = tuple(time_s * k / (n - 1) for k in range(n))
    nothing = (None,) * n
    samples = Samples(
        time_s=times, scheduled=(True,) * n, host_user_s=times, host_system_s=times,
        host_idle_s=times, host_busy_s=times, host_total_s=times, host_ram_mib=(1000.0,) * n,
        tree_ram_mib=(300.0,) * n, tree_peak_mib=(300.0,) * n, tree_cpu_s=times,
        tree_processes=(1,) * n, gpu_mib=(400.0,) * n if gpu else nothing,
        gpu_reserved_mib=nothing, gpu_tree_mib=(100.0,) * n if gpu else nothing,
    )  # fmt: skip
    level = Level(peak=1200.0, mean=1000.0, area=2000.0)
    official = Efficiency(
        name=f"{name}_0000.nii.gz", time_s=round(time_s, 2), max_ram_mib=1100.25,
        area_ram_mib_s=1990.0, max_cpu_percent=45.5, area_cpu_percent_s=80.25,
        max_gpu_mib=400.0 if gpu else None, area_gpu_mib_s=790.0 if gpu else None,
    )  # fmt: skip
    device = GpuDevice(index=0, name="Card", uuid="u", driver="d", total_mib=16000.0)
    return Measurement(
        name=name, started="2026-01-01T00:00:00", time_s=time_s, official=official,
        ram_mib=level, tree_ram_mib=replace(level, peak=333.0), samples=samples,
        gpu_mib=Level(
            peak=412.0, mean=400.0, area=801.0, baseline=12.0, above_baseline=400.0,
            area_above_baseline=777.0,
        ) if gpu else None,
        device=device if gpu else None, notes=("a note",),
    )  # fmt: skip


def measured(name="a", **options):
    return CaseMeasurement(case=name, status="measured", measurement=measurement(name, **options))


def write_cases(folder_, *results):
    folder_.mkdir(exist_ok=True)
    write_tables(results, folder_, team="team", program=["x"])
    for result in results:
        if result.measurement is not None:
            result.measurement.write(folder_ / f"{result.case}.json")
    return folder_


def section_of(*cases):
    return parsed(efficiency_section(list(cases))).one("section")


def tables_of(section):
    return {table.one("caption").text: table for table in section.all("table")}


def heads(table):
    return [head.text for head in table.one("thead").all("th")]


def test_a_folder_of_cases_is_read_with_its_samples(tmp_path):
    lost = CaseMeasurement(case="b", status="timed out", reason="stopped after 5 s",
                           measurement=measurement("b"))  # fmt: skip
    never = CaseMeasurement(case="c", status="not started", reason="interrupted before it")
    write_cases(tmp_path / "m", measured(), lost, never)
    for path in (tmp_path / "m", tmp_path / "m" / "measurements.json"):
        first, second, third = read_measured(path)
        assert (first.name, first.status) == ("a", "measured")
        assert len(first.measurement.samples) == 5
        assert first.official["MaxRAM"] == 1100.25
        assert second.official == {} and second.reason == "stopped after 5 s"
        assert third.measurement is None


def test_samples_of_another_run_or_lost_ones_are_not_taken(tmp_path):
    place = write_cases(tmp_path / "m", measured())
    replace(measurement(), started="later").write(place / "a.json")
    assert not len(read_measured(place)[0].measurement.samples)
    (place / "a.json").unlink()
    assert not len(read_measured(place)[0].measurement.samples)
    assert "Over time" not in section_of(*read_measured(place)).text


def test_one_measurement_is_read_from_file_or_folder(tmp_path):
    measurement().write(tmp_path / "measurement.json")
    for path in (tmp_path, tmp_path / "measurement.json"):
        (only,) = read_measured(path)
        assert only.name == "a" and only.status == "" and len(only.measurement.samples) == 5
    (tmp_path / "measurement.json").rename(tmp_path / "other.json")
    assert read_measured(tmp_path)[0].name == "a"


def test_the_table_of_the_challenge_is_enough(tmp_path):
    place = write_cases(tmp_path / "m", measured(), measured("b", gpu=False))
    (place / "measurements.json").unlink()
    cases = read_measured(place)
    assert [each.name for each in cases] == ["a_0000.nii.gz", "b_0000.nii.gz"]
    assert cases[0].official["MaxGPU_Mem"] == 400 and cases[1].official["MaxGPU_Mem"] == ""
    assert cases[0].measurement is None
    assert "a_0000.nii.gz" in section_of(*cases).text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", "{"),
        ("x.json", "[1]"),
        ("x.json", "{}"),
        ("measurements.json", '{"cases": [{}]}'),
        ("measurements.json", '{"cases": [{"case": "a", "status": "measured", "reason": "", '
                              '"measurement": {"name": 1}}]}'),
        ("x.csv", "Name,Time\na,1\n"),
        ("x.csv", "a\xff"),
    ],
)  # fmt: skip
def test_what_is_no_measurement_is_refused_by_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UnreadableFileError) as error:
        read_measured(path)
    assert name in str(error.value)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"neither measurements\.json nor"):
        read_measured(tmp_path)
    with pytest.raises(UnreadableFileError, match="FileNotFoundError"):
        read_measured(tmp_path / "gone.json")


def test_official_columns_stand_beside_true_figures():
    tables = tables_of(section_of(MeasuredCase(name="a", official=measurement().official.row(),
                                               measurement=measurement())))  # fmt: skip
    assert list(tables) == [
        "Time and GPU memory, by case", "Memory of the machine, by case", "Processors, by case",
    ]  # fmt: skip
    first = tables["Time and GPU memory, by case"]
    assert heads(first)[1:6] == [
        "Time s", "true time s", "MaxGPU_Mem MiB", "true peak MiB", "peak above start MiB",
    ]  # fmt: skip
    assert table_rows(first) == [["a", "2.00", "2.00", "400", "412", "400", "790", "801", "777"]]
    assert table_rows(tables["Memory of the machine, by case"]) == [
        ["a", "1100", "1200", "333", "1990", "2000"]
    ]
    cell = tables["Memory of the machine, by case"].one("tbody").all("td")[0]
    assert cell["data-value"] == "1100.25"


def test_without_a_gpu_its_columns_are_gone_and_it_is_said():
    without = MeasuredCase(name="a", official=measurement(gpu=False).official.row(),
                           measurement=measurement(gpu=False))  # fmt: skip
    section = section_of(without)
    assert "MaxGPU_Mem" not in section.text and "GPU: " not in section.text
    assert "a note" in section.one("ul").text
    assert (
        "GPU: Card, 16000 MiB."
        in section_of(MeasuredCase(name="a", measurement=measurement())).text
    )


def test_many_cases_have_a_summary_and_failed_ones_are_named_and_not_counted():
    cases = [
        MeasuredCase(name=name, status="measured", official=each.official.row(), measurement=each)
        for name, each in (("a", measurement("a", 1.0)), ("b", measurement("b", 4.0)))
    ]
    lost = MeasuredCase(
        name="c", status="failed", reason="exit code 3", measurement=measurement("c", 100.0)
    )
    section = section_of(*cases, lost)
    rows = table_rows(tables_of(section)["Time and GPU memory, all cases"])
    assert rows[:2] == [
        ["Time s", "2", "2.50", "2.50", "4.00"],
        ["true time s", "2", "2.50", "2.50", "4.00"],
    ]
    assert "c: failed: exit code 3" in section.text
    by_case = table_rows(tables_of(section)["Time and GPU memory, by case"])
    assert by_case[2] == ["c"] + [""] * 8


def test_curves_of_the_longest_cases_are_drawn_and_need_nothing():
    cases = [
        MeasuredCase(name=f"case {k}", measurement=measurement(f"case {k}", 1.0 + k))
        for k in range(9)
    ]
    section = section_of(*cases)
    assert "Over time: the 6 cases of 9 that took longest" in section.text
    drawn = section.all("svg", class_="flare-curves")
    assert [svg.one("title").text.split(":")[0] for svg in drawn] == [
        f"case {k}" for k in range(8, 2, -1)
    ]
    assert "http" not in efficiency_section(cases)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_inert(name):
    hostile = replace(measurement(), name=name, notes=(name,))
    section = section_of(
        MeasuredCase(name=name, measurement=hostile),
        MeasuredCase(name="b", status=name, reason=name),
    )
    assert not section.all("script") and not section.all("b")
    assert len(section.all("svg")) == 1
    shown = visible(name)
    title = section.one("svg").one("title").text
    assert title.startswith(shown if len(shown) <= 44 else shown[:41])


def test_figures_name_attributes_that_exist():
    full = MeasuredCase(
        name="a",
        official=measurement().official.row(),
        measurement=replace(
            measurement(),
            cpu_percent=Level(peak=1, mean=1, area=1),
            tree_cpu_percent=Level(peak=1, mean=1, area=1),
            tree_gpu_mib=Level(peak=1, mean=1, area=1),
        ),
    )
    assert figures_present([full]) == {name: list(figures) for name, figures in COST_GROUPS.items()}
    empty = MeasuredCase(name="a")
    assert figures_present([empty]) == {}
    for figures in COST_GROUPS.values():
        for figure in figures:
            assert math.isfinite(figure.of(full)) and figure.of(empty) is None


def test_the_page_allows_the_style_of_the_curves(tmp_path):
    measurement().write(tmp_path / "m.json")
    text = report_html(folder(case()), efficiency=tmp_path / "m.json")
    root = parsed(text)
    import base64
    import hashlib

    policy = root.one("meta", http_equiv="Content-Security-Policy")["content"]
    for style in root.all("style"):
        digest = hashlib.sha256(style.text.encode()).digest()
        assert base64.b64encode(digest).decode() in policy
    assert len(root.all("style")) == 2
    ids = [section["id"] for section in root.one("main").all("section")]
    assert ids.index("efficiency") == ids.index("cases") - 1
    assert json.loads((tmp_path / "m.json").read_text())["time"] == 2.0
