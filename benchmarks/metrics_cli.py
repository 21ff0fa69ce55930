"""Time and watch ``flare-metrics score`` on .nii.gz files, beside a script as challenges publish.

``python benchmarks/metrics_cli.py --peer PEER_PYTHON`` keeps its figures in
``benchmarks/results/metrics_cli.json``: a fresh process for one pair of 200 x 512 x 512 voxels and
14 labels, what each further case of a folder adds, the import alone, and the memory of all
processes while 50 cases are scored by two workers. Files are in the system's cache. The peer reads
with nibabel and scores by surface-distance. ``--quick`` halves each axis and keeps nothing.
"""

from __future__ import annotations

import os

# The processes started here inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from machine import describe_machine, versions_in
from metrics_work import WORKS, protocol_of, workload

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "metrics_cli.json"
PACKAGES = ("flare-metrics", "numpy", "scipy")
PEER_PACKAGES = ("surface-distance", "nibabel", "numpy", "scipy")
COMMAND = (sys.executable, "-c", "from flare_metrics.cli import main; raise SystemExit(main())")
FURTHER = 10
SAMPLE_S = 0.02
TARGETS = {"one pair": 0.9, "each further case": 0.35, "50 cases, two workers": 2500.0}


def write_pairs(folder: Path, *, quick: bool) -> None:
    """Write each work as a case of the folders ``predictions`` and ``references``."""
    for work in WORKS:
        *arrays, (z, y, x) = workload(work, quick=quick)
        for kind, array in zip(("predictions", "references"), arrays, strict=True):
            (folder / kind).mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(array.T, np.diag([-x, -y, z, 1.0]))
            nibabel.save(image, folder / kind / f"{work}.nii.gz")


def linked_cases(folder: Path, works: Sequence[str], cases: int) -> list[str]:
    """Make a folder of cases, all of them links to a few files; return its arguments."""
    place = folder / f"{'-'.join(works)}-{cases}"
    for kind in ("predictions", "references"):
        (place / kind).mkdir(parents=True, exist_ok=True)
        for k in range(cases):
            link = place / kind / f"case_{k:03}.nii.gz"
            if not link.exists():
                os.link(folder / kind / f"{works[k % len(works)]}.nii.gz", link)
    out = str(place / "out")
    return ["score", "-p", str(place / "predictions"), "-r", str(place / "references"), "-o", out]


def wall_s(command: Sequence[str]) -> float:
    """Return how long a fresh process takes."""
    start = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr}")
    return time.perf_counter() - start


def in_turns(commands: dict[str, Sequence[str]], repeats: int) -> dict[str, list[float]]:
    """Return the times of every command; all take turns, and the first turn is not counted."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            time_s = wall_s(command)
            if turn:
                times[name].append(time_s)
    return times


def process_times(folder: Path, peer: str | None, repeats: int) -> list[dict[str, Any]]:
    """Return what one pair takes in a fresh process, and what each further case adds."""
    smooth = [str(folder / kind / "smooth.nii.gz") for kind in ("predictions", "references")]
    specks = [str(folder / kind / "specks.nii.gz") for kind in ("predictions", "references")]
    many = linked_cases(folder, ("smooth",), 1 + FURTHER)
    one = linked_cases(folder, ("smooth",), 1)
    commands: dict[str, Sequence[str]] = {
        "python alone": (sys.executable, "-c", "pass"),
        "import numpy": (sys.executable, "-c", "import numpy"),
        "import flare_metrics": (sys.executable, "-c", "import flare_metrics"),
        "one pair": (*COMMAND, "score", "-p", smooth[0], "-r", smooth[1]),
        "one pair, distances": (
            *COMMAND, "score", "-p", smooth[0], "-r", smooth[1], "--distances",
        ),
        "one pair, specks": (*COMMAND, "score", "-p", specks[0], "-r", specks[1]),
        "folder of one, tables": (*COMMAND, *one, "--no-report"),
        "folder of one, tables and report": (*COMMAND, *one),
        "folder of eleven, tables": (*COMMAND, *many, "--no-report"),
        "folder of eleven, tables and report": (*COMMAND, *many),
    }  # fmt: skip
    if peer:
        tolerances = [f"{each.id}={each.tolerance_mm}" for each in protocol_of("smooth").labels]
        script = str(HERE / "metrics_files_peer.py")
        commands["one pair, peer"] = (peer, script, *smooth, *tolerances)
    times = in_turns(commands, repeats)
    for ending in ("tables", "tables and report"):
        pairs = zip(
            times[f"folder of one, {ending}"], times[f"folder of eleven, {ending}"], strict=True
        )
        name = "each further case" + ("" if ending == "tables" else ", report")
        times[name] = [(eleven - one) / FURTHER for one, eleven in pairs]
    return [_row(name, each, times.get(f"{name}, peer")) for name, each in times.items()]


def _row(task: str, times: list[float], peer: list[float] | None) -> dict[str, Any]:
    median = statistics.median(times)
    row = {
        "task": task,
        "median_s": round(median, 3),
        "least_s": round(min(times), 3),
        "most_s": round(max(times), 3),
        "runs": len(times),
        "target_s": TARGETS.get(task),
    }
    ratio = ""
    if peer:
        row["ratio"] = round(statistics.median(peer) / median, 2)
        ratio = f"{row['ratio']:.2f} x"
    target = f"(target {TARGETS[task]:g}) s" if task in TARGETS else "s"
    print(
        f"{ratio:>9} {task:36} {median:7.3f} ({min(times):.3f} - {max(times):.3f}) {target}",
        flush=True,
    )
    return row


def watched(command: Sequence[str]) -> dict[str, float]:
    """Run a command and sample the memory of all processes of its session.

    The proportional size counts a page that two of them share once, the resident size twice.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = {"resident_mb": 0.0, "proportional_mb": 0.0, "processes": 0.0}
    while process.poll() is None:
        sizes = [_sizes(each) for each in _session(process.pid)]
        now = {
            "resident_mb": sum(size["Rss"] for size in sizes) * 1024 / 1e6,
            "proportional_mb": sum(size["Pss"] for size in sizes) * 1024 / 1e6,
            "processes": float(len(sizes)),
        }
        peak = {name: max(value, now[name]) for name, value in peak.items()}
        time.sleep(SAMPLE_S)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return {"wall_s": time.perf_counter() - start, **peak}


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            # The name ends at the last parenthesis; the session is the fourth field after it.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, UnicodeError):
            continue
        if entry.name.isdigit() and int(fields[3]) == leader:
            found.append(int(entry.name))
    return found


def _sizes(process: int) -> dict[str, int]:
    """Return Rss and Pss in KiB; 0 where the process has just ended."""
    sizes = {"Rss": 0, "Pss": 0}
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return sizes
    for line in lines:
        name = line.partition(":")[0]
        if name in sizes:
            sizes[name] = int(line.split()[1])
    return sizes


def memory_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the peak memory of 50 cases scored by two workers."""
    rows = []
    score = (*COMMAND, *linked_cases(folder, WORKS, 50), "--jobs", "2")
    for task, more in (("50 cases, two workers", ()), ("the same, distances", ("--distances",))):
        row = {"task": task, **{k: round(v, 2) for k, v in watched((*score, *more)).items()}}
        row["target_mb"] = TARGETS["50 cases, two workers"]
        row["worker_s_a_case"] = round(2 * row["wall_s"] / 50, 3)
        rows.append(row)
        print(
            f"{task:24} resident {row['resident_mb']:.0f} MB, proportional "
            f"{row['proportional_mb']:.0f} MB at most (target {row['target_mb']:.0f}), "
            f"{row['wall_s']:.1f} s, {row['worker_s_a_case']:.2f} s a case and worker",
            flush=True,
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--peer", metavar="PYTHON", help="interpreter that has surface-distance and nibabel")
    add("--repeats", type=int, default=7, help="runs of each command after the first")
    add("--no-memory", action="store_true", help="times only, nothing kept")
    add("--quick", action="store_true", help="half of each axis, nothing kept")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, quick=arguments.quick)
        sizes = {
            f"{kind}/{work}": (folder / kind / f"{work}.nii.gz").stat().st_size
            for kind in ("predictions", "references")
            for work in WORKS
        }
        rows = process_times(folder, arguments.peer, arguments.repeats)
        memory = [] if arguments.no_memory else memory_rows(folder)
    if arguments.peer and not (arguments.quick or arguments.no_memory):
        record = {
            "machine": describe_machine(*PACKAGES),
            "peers": versions_in(arguments.peer, *PEER_PACKAGES),
            "load": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
            "file_bytes": sizes,
            "times": rows,
            "memory": memory,
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
