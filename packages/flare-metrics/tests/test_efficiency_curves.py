"""Curves as SVG: what they hold, that they are well formed, and that they need nothing."""

import math
import re
import shutil
import subprocess
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flare_metrics.efficiency import GpuDevice, Measurement, Samples, curves_svg
from flare_metrics.efficiency.curves import _round_step, _thinned
from flare_metrics.efficiency.levels import Level
from flare_metrics.efficiency.official import Efficiency

SVG = "{http://www.w3.org/2000/svg}"


def make(n=11, *, gpu=True, **changes):
    """One second: memory rises from 1000 to 2000 MiB, two processors are busy."""
    times = tuple(index / (n - 1) for index in range(n))
    nothing = (None,) * n
    samples = Samples(
        time_s=times,
        scheduled=(True,) * n,
        host_user_s=times,
        host_system_s=times,
        host_idle_s=times,
        host_busy_s=tuple(2 * t for t in times),
        host_total_s=tuple(4 * t for t in times),
        host_ram_mib=tuple(1000 + 1000 * t for t in times),
        tree_ram_mib=tuple(500 * t for t in times),
        tree_peak_mib=tuple(500 * t for t in times),
        tree_cpu_s=times,
        tree_processes=(1,) * n,
        gpu_mib=(400.0,) * n if gpu else nothing,
        gpu_reserved_mib=nothing,
        gpu_tree_mib=(100.0,) * n if gpu else nothing,
    )
    level = Level(peak=777.0, mean=1.0, area=1.0)
    return Measurement(
        **{
            "name": "case",
            "started": "t",
            "time_s": 1.0,
            "official": Efficiency(name="case", time_s=1.0),
            "samples": samples,
            "tree_ram_mib": level,
        }
        | changes
    )


def parse(svg):
    return ElementTree.fromstring(svg)  # our own text


def points(root):
    lines = root.iter(f"{SVG}polyline")
    return [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for line in lines
    ]


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def test_three_panels_and_their_peaks():
    root = parse(curves_svg(make()))
    shown = texts(root)
    assert "case: 1.00 s" in shown
    for title in ("GPU memory, MiB", "Memory, MiB", "Processor load, % of one processor"):
        assert title in shown
    # The level of the processes knows more than the samples.
    for legend in ("machine, peak 2000", "processes, peak 777", "device, peak 400"):
        assert legend in shown
    assert "machine, peak 200" in shown
    assert len(points(root)) == 6


def test_without_a_gpu_there_is_no_panel_for_it():
    root = parse(curves_svg(make(gpu=False)))
    assert "GPU memory, MiB" not in texts(root)
    assert len(points(root)) == 4


def test_the_device_is_named():
    device = GpuDevice(index=0, name="RTX <5000>", uuid="u", driver="d", total_mib=1.0)
    assert "RTX <5000>, peak 400" in texts(parse(curves_svg(make(device=device))))


def test_curves_lie_within_the_picture_and_rise_as_they_should():
    root = parse(curves_svg(make()))
    _, _, width, height = map(float, root.get("viewBox").split())
    for line in points(root):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in line)
    ram = points(root)[2]
    # From 1000 to 2000 on a scale from 0: the end is twice as high above the axis as the start.
    base = 2 * ram[0][1] - ram[-1][1]
    assert ram[0][1] - ram[-1][1] == pytest.approx(base - ram[0][1], abs=0.3)
    assert ram[5][1] == pytest.approx((ram[0][1] + ram[-1][1]) / 2, abs=0.2)


def test_hostile_names_are_inert():
    svg = curves_svg(make(name='"><script>alert(1)</script>&'))
    assert "<script" not in svg
    assert '"><script>alert(1)</script>&: 1.00 s' in texts(parse(svg))
    assert curves_svg(make(), title="other").count("other") == 2


def test_nothing_is_fetched():
    svg = curves_svg(make())
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in svg and "@import" not in svg


def test_without_samples_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="must hold samples to draw curves, got none"):
        curves_svg(make(samples=Samples()))


def test_all_zero_and_very_short_runs_can_be_drawn():
    flat = replace(make(2).samples, host_ram_mib=(0.0, 0.0), time_s=(0.0, 0.0))
    root = parse(curves_svg(make(samples=flat, time_s=0.0)))
    assert all(math.isfinite(value) for line in points(root) for point in line for value in point)


def test_ended_processes_give_no_negative_load():
    samples = replace(make(3).samples, tree_cpu_s=(0.0, 0.4, 0.1))
    root = parse(curves_svg(make(samples=samples)))
    assert max(y for _, y in points(root)[-1]) <= max(y for _, y in points(root)[-2]) + 200


def test_long_runs_keep_their_extremes():
    many = [(float(index), 5.0) for index in range(10_000)]
    many[4321] = (4321.0, 99.0)
    many[8765] = (8765.0, 1.0)
    few = _thinned(many)
    assert len(few) <= 600
    assert (4321.0, 99.0) in few and (8765.0, 1.0) in few
    assert few == sorted(few)
    assert len(curves_svg(make(5000))) < 40_000


@given(st.floats(1e-3, 1e7))
@settings(max_examples=50)
def test_three_to_eight_round_steps(span):
    step = _round_step(span)
    assert 3 <= span / step < 7.6
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in (1, 2, 5)


def test_a_browser_draws_it(tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH")
    (tmp_path / "c.svg").write_text(curves_svg(make()))
    subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path / 'user'}", "--window-size=520,640"),
            *(f"--screenshot={tmp_path / 'c.png'}", f"file://{tmp_path / 'c.svg'}"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with Image.open(tmp_path / "c.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 20)}
    # The two curves of the light picture.
    assert {(0x00, 0x72, 0xB2), (0xB3, 0x4A, 0x00)} <= colors
