"""Time flare_metrics beside surface-distance, MONAI and pymia, in one run on one thread.

``python benchmarks/metrics.py --peer PEER_PYTHON`` prints one line for each peer and work, the
ratio first, and keeps the figures in ``benchmarks/results/metrics.json``. `metrics_work` says what
is scored: 14 labels of 200 x 512 x 512 voxels, arrays in memory. The peers live in the environment
of ``benchmarks/peers-metrics.txt``; each side scores in a process of its own that stays, and ours
and theirs take turns, so that a slow minute of the machine is everybody's. Memory is the growth of
the peak resident size, each time in a process that has done nothing else. Without ``--peer`` only
ours is timed and nothing is kept; ``--quick`` halves each axis and keeps nothing.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS; the processes started here inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, versions_in
from metrics_work import WORKS, protocol_of, workload
from metrics_worker import Times, Worker

RESULTS = Path(__file__).parent / "results" / "metrics.json"
PACKAGES = ("flare-metrics", "numpy", "scipy")
PEER_PACKAGES = ("surface-distance", "monai", "pymia", "torch", "numpy", "scipy")
# Runs of the slow peers; ours and the others run `--repeats` times.
RUNS = {
    ("surface-distance", "specks"): 3,
    ("monai", "smooth"): 3,
    ("monai", "specks"): 1,
    ("monai", "shifted"): 1,
    ("pymia", "specks"): 1,
}
# Peer and whether distances are asked for: the ratio each work must reach.
TARGETS = {
    ("surface-distance", False): {"smooth": 18.0, "specks": 60.0, "shifted": 1.5},
    ("surface-distance", True): {"smooth": 8.0, "specks": 40.0, "shifted": 1.0},
    ("monai", False): {"smooth": 100.0},
}
PARTS = ("prediction", "reference")
MEMORY_TARGETS = {"smooth": 1.5, "specks": 3.0, "shifted": 3.0}


@dataclass(frozen=True)
class Bench:
    """What is run, and in which interpreters."""

    peer_python: str
    peers: tuple[str, ...]
    repeats: int
    folder: Path
    quick: bool

    def request(self, side: str, work: str, *, distances: bool) -> dict[str, Any]:
        """Return what a worker is told; the arrays are written when first asked for."""
        told = self.folder / f"{work}.json"
        if not told.exists():
            *arrays, spacing_mm = workload(work, quick=self.quick)
            places = {name: str(self.folder / f"{work}-{name}.npy") for name in PARTS}
            for path, array in zip(places.values(), arrays, strict=True):
                np.save(path, array)
            maps_mib = sum(array.nbytes for array in arrays) / 2**20
            told.write_text(
                json.dumps({**places, "spacing_mm": spacing_mm, "maps_mib": maps_mib}),
                encoding="utf-8",
            )
        request: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
        tolerances = {label.id: label.tolerance_mm for label in protocol_of(work).labels}
        more = {"side": side, "work": work, "distances": distances, "tolerances_mm": tolerances}
        return request | more

    def python(self, side: str) -> str:
        """Return the interpreter that a side needs."""
        return self.peer_python if side in self.peers else sys.executable

    def sides(self, *, distances: bool) -> tuple[str, ...]:
        """Return who gives the scores; of the peers one weights distances by area and is fast."""
        peers = (peer for peer in self.peers if not distances or peer == "surface-distance")
        return ("ours", *peers)

    def times(self, work: str, *, distances: bool) -> dict[str, Times]:
        """Let all sides take turns, every one as often as is said of it."""
        sides = ("ours, default", *self.sides(distances=distances))
        runs = {side: min(self.repeats, RUNS.get((side, work), self.repeats)) for side in sides}
        requests = {side: self.request(side, work, distances=distances) for side in sides}
        times = {side: Times() for side in sides}
        workers = {side: Worker(self.python(side)) for side in sides}
        try:
            for turn in range(max(runs.values())):
                for side in sides:
                    if turn < runs[side]:
                        times[side].add(workers[side].score(requests[side]))
        finally:
            for worker in workers.values():
                worker.__exit__()
        return times

    def memory(self, side: str, work: str, *, distances: bool) -> tuple[float, float]:
        """Return the growth of the peak in a fresh process, and the label maps, in MiB."""
        request = self.request(side, work, distances=distances)
        with Worker(self.python(side)) as worker:
            return worker.score(request)["growth_mib"], request["maps_mib"]


def _scores_of(distances: bool) -> str:
    return "DSC + NSD + HD95 + ASSD" if distances else "DSC + NSD"


def largest_differences(ours: Times, peer: Times) -> dict[str, float]:
    """Return by score how far the peer's number is from ours at most, over all labels."""
    names: Iterable[str] = next(iter(peer.scores.values()))
    return {
        name: max(abs(row[name] - ours.scores[label][name]) for label, row in peer.scores.items())
        for name in names
    }


def timed_rows(bench: Bench, work: str, *, distances: bool) -> list[dict[str, Any]]:
    """Return one row for each peer, and one of the sound protocol as it is."""
    times = bench.times(work, distances=distances)
    ours, sound = times.pop("ours"), times.pop("ours, default")
    what = _scores_of(distances)
    rows: list[dict[str, Any]] = []
    for peer, theirs in times.items():
        target = None if bench.quick else TARGETS.get((peer, distances), {}).get(work)
        row = {
            "work": work,
            "scores": what,
            "peer": peer,
            "ratio": round(theirs.median / ours.median, 2),
            "target": target,
            "ours": ours.record(),
            "theirs": theirs.record(),
            "largest_difference": largest_differences(ours, theirs),
        }
        rows.append(row)
        differ = max(row["largest_difference"].values())
        print(
            f"{row['ratio']:7.1f} x {_against(row['ratio'], target):16} {work:8} {what:24} "
            f"{peer:17} ours {_spread(ours)} s  theirs {_spread(theirs)} s  differ by {differ:.1e}",
            flush=True,
        )
    rows.append({"work": work, "scores": what, "sound_protocol": sound.record()})
    print(
        f"{'':26} {work:8} {what:24} {'ours alone':17} ours {_spread(ours)} s  "
        f"the sound protocol as it is {_spread(sound)} s",
        flush=True,
    )
    return rows


def _against(ratio: float, target: float | None) -> str:
    if target is None:
        return ""
    return f"(target {target:g}{'' if ratio >= target else ', missed'})"


def _spread(times: Times) -> str:
    return f"{times.median:.3f} ({min(times.wall):.3f} - {max(times.wall):.3f})"


def memory_rows(bench: Bench, work: str, *, distances: bool) -> list[dict[str, Any]]:
    """Return how far the peak memory grows, in MiB and in multiples of the two label maps."""
    rows: list[dict[str, Any]] = []
    for side in bench.sides(distances=distances):
        growth, maps = bench.memory(side, work, distances=distances)
        target = MEMORY_TARGETS[work] if side == "ours" and not bench.quick else None
        row = {
            "work": work,
            "scores": _scores_of(distances),
            "side": side,
            "growth_mib": round(growth),
            "maps_mib": round(maps),
            "ratio": round(growth / maps, 2),
            "target": target,
        }
        rows.append(row)
        missed = target is not None and growth / maps > target
        print(
            f"{row['ratio']:7.2f} x the label maps {f'(target {target})' if target else '':14} "
            f"{work:8} {_scores_of(distances):24} {side:17} +{growth:.0f} MiB"
            f"{', missed' if missed else ''}",
            flush=True,
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--peer", metavar="PYTHON", help="interpreter that has the peers; none: ours alone")
    add("--peers", nargs="*", default=["surface-distance", "monai", "pymia"], metavar="NAME")
    add("--works", nargs="+", choices=WORKS, default=WORKS)
    add("--repeats", type=int, default=7, help="runs of ours and of the faster peers")
    add("--no-distances", action="store_true", help="DSC and NSD only")
    add("--no-memory", action="store_true", help="times only")
    add("--quick", action="store_true", help="half of each axis, nothing kept")
    arguments = parser.parse_args()
    peers = tuple(arguments.peers) if arguments.peer else ()
    load_before = os.getloadavg()[0]
    rows, memory = [], []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            arguments.peer or "",
            peers,
            arguments.repeats,
            Path(folder),
            arguments.quick,
        )
        for work in arguments.works:
            for distances in (False,) if arguments.no_distances else (False, True):
                rows += timed_rows(bench, work, distances=distances)
                if not arguments.no_memory:
                    memory += memory_rows(bench, work, distances=distances)
    whole = peers and set(arguments.works) == set(WORKS)
    if not (arguments.quick or arguments.no_distances or arguments.no_memory) and whole:
        record = {
            "machine": describe_machine(*PACKAGES),
            "peers": versions_in(arguments.peer, *PEER_PACKAGES),
            "load": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
            "times": rows,
            "memory": memory,
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
