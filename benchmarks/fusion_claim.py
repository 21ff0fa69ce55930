"""Is a fused label better than the better of its sources? Claim C1, on 200 phantoms.

``python benchmarks/fusion_claim.py`` draws each phantom of the preset ``small`` under two regimes
of errors, fuses its two pseudo-label sets in several ways, scores the organs against the truth, and
prints a table per regime. Nothing is trained. The figures go to
``benchmarks/results/fusion_claim.json``; finished cases are kept in ``--state``, so that a stopped
run goes on. ``--cases 20`` takes a tenth.

An unlabeled case, about every second, has no partial label: S1 then has no referee, S2 leaves set B
as it is. Intervals are percentiles of 10 000 draws of cases with replacement; differences are
paired by case.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from joblib import Parallel, delayed
from machine import describe_machine
from numpy.typing import NDArray
from scipy.stats import binomtest

from flare_fusion import fuse
from flare_io.phantom import ErrorModel, draw_phantom
from flare_metrics import score_case

RESULTS = Path(__file__).parent / "results" / "fusion_claim.json"
PACKAGES = ("flare-fusion", "flare-io", "flare-metrics", "numpy", "simpleitk")
ORGANS = range(1, 14)
DRAWS = 10_000
SEED = 4
# Most settle within 100; a few never do, and by default there is no limit.
STAPLE_ITERATIONS = 500
REGIMES = {
    # Missing tips, poles and small organs, mix-ups: errors that depend on what the picture shows.
    "omission": ErrorModel(),
    # Nothing but boundaries that wander, in each set for itself.
    "jitter": ErrorModel(omission=0.0, jitter=1.0, confusion=0.0, correlation=0.0),
}
Labels = NDArray[Any]


def staple(raters: list[Labels], partial: Labels | None, annotated: frozenset[int]) -> Labels:
    """Return SimpleITK's STAPLE organ by organ; the partial label rates the organs of its K.

    The organ with the largest probability above one half wins. SimpleITK's STAPLE of all labels at
    once starts from a vote, and with two raters never leaves it.
    """
    best = np.full(raters[0].shape, 0.5)
    fused = np.zeros_like(raters[0])
    for organ in ORGANS:
        votes = raters + ([partial] if partial is not None and organ in annotated else [])
        masks = [(labels == organ).astype(np.uint8) for labels in votes]
        if not any(mask.any() for mask in masks):
            continue
        images = [SimpleITK.GetImageFromArray(mask) for mask in masks]
        # Weight of the prior, foreground value, and the limit; the wrapper takes no keywords.
        settled = SimpleITK.STAPLE(images, 1.0, 1.0, STAPLE_ITERATIONS)
        share = SimpleITK.GetArrayFromImage(settled)
        wins = share > best
        best[wins], fused[wins] = share[wins], organ
    return fused


def arms(
    a: Labels, b: Labels, partial: Labels | None, annotated: frozenset[int]
) -> Iterator[tuple[str, Callable[[], Labels]]]:
    """Yield the ways to make one label map of a case."""
    referee = np.zeros_like(a) if partial is None else partial
    pair = {"partial": referee, "pseudo": b}
    yield "A", lambda: a
    yield "B", lambda: b
    yield "union", lambda: np.where(a > 0, a, b)
    yield (
        "S1",
        lambda: fuse({"A": a, "B": b, "partial": referee}, rule="s1-labeled").label_map,
    )
    yield "S2 replace", lambda: fuse(pair, rule="s2-replace", annotated=annotated).label_map
    yield "S2 overlay", lambda: fuse(pair, rule="s2-overlay").label_map
    yield "agree only", lambda: np.where(a == b, a, 0)
    yield "STAPLE", lambda: staple([a, b], partial, annotated)


def scored(regime: str, index: int) -> dict[str, Any]:
    """Return DSC and NSD of each organ for each arm of one case; None where not scored."""
    case = draw_phantom(seed=SEED, index=index, preset="small", errors=REGIMES[regime])
    truth, spacing_mm = case.truth.array, case.truth.geometry.spacing_mm
    partial = None if case.partial is None else case.partial.array
    a, b = case.pseudo["A"].array, case.pseudo["B"].array
    figures = {}
    for name, make in arms(a, b, partial, case.annotated or frozenset()):
        score = score_case(make(), truth, spacing_mm=spacing_mm)
        figures[name] = {
            measure: [value(getattr(score[organ], measure)) for organ in ORGANS]
            for measure in ("dsc", "nsd")
        }
    return {"regime": regime, "index": index, "labeled": partial is not None, "arms": figures}


def value(number: float) -> float | None:
    return None if np.isnan(number) else round(number, 5)


def finished(state: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the cases that an earlier run has finished; a torn last line does not count."""
    rows = {}
    for line in state.read_text(encoding="utf-8").splitlines() if state.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["regime"], row["index"]] = row
    return rows


def interval(values: NDArray[np.float64]) -> list[float]:
    """Return mean and the limits of its 95 % interval."""
    draws = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return [round(float(number), 4) for number in (values.mean(), low, high)]


def organ_means(rows: list[dict[str, Any]], arm: str, measure: str) -> NDArray[np.float64]:
    """Return the mean over organs of each case."""
    table = np.array([row["arms"][arm][measure] for row in rows], float)
    means: NDArray[np.float64] = np.nanmean(table, axis=1)
    return means


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means with intervals, and paired differences to the better of A and B."""
    result: dict[str, Any] = {"cases": len(rows), "arms": {}}
    for arm in rows[0]["arms"]:
        figures: dict[str, Any] = {}
        for measure in ("dsc", "nsd"):
            means = {name: organ_means(rows, name, measure) for name in ("A", "B", arm)}
            better = max(("A", "B"), key=lambda name: means[name].mean())
            gain = means[arm] - means[better]
            wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
            table = np.array([row["arms"][arm][measure] for row in rows], float)
            figures[measure] = {
                "mean": interval(means[arm]),
                "better_source": better,
                "gain": interval(gain),
                "wins": wins,
                "losses": losses,
                "sign_test_p": binomtest(wins, wins + losses).pvalue if wins + losses else 1.0,
                "by_organ": [round(float(mean), 4) for mean in np.nanmean(table, axis=0)],
            }
        result["arms"][arm] = figures
    return result


def printed(regime: str, group: str, figures: dict[str, Any]) -> str:
    lines = [
        f"{regime}, {group}: {figures['cases']} cases",
        f"{'':12}{'DSC':>8}  {'95 % interval':18}{'gain over the better source':34}{'NSD':>6}"
        "  95 % interval",
    ]
    for arm, row in figures["arms"].items():
        mean, low, high = row["dsc"]["mean"]
        gain, gain_low, gain_high = row["dsc"]["gain"]
        nsd, nsd_low, nsd_high = row["nsd"]["mean"]
        wins = f"{row['dsc']['wins']}:{row['dsc']['losses']}"
        lines.append(
            f"{arm:12}{mean:8.4f}  {low:.4f} to {high:.4f}  {gain:+.4f} ({gain_low:+.4f} to "
            f"{gain_high:+.4f}) {wins:9}{nsd:.4f}  {nsd_low:.4f} to {nsd_high:.4f}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200, help="phantoms of each regime")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument(
        "--state", type=Path, default=Path("fusion_claim.jsonl.partial"), help="finished cases"
    )
    arguments = parser.parse_args()
    done = finished(arguments.state)
    wanted = [(regime, index) for regime in REGIMES for index in range(arguments.cases)]
    todo = [key for key in wanted if key not in done]
    rows = Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(
        delayed(scored)(*key) for key in todo
    )
    with arguments.state.open("a", encoding="utf-8") as state:
        for number, row in enumerate(rows, 1):
            state.write(json.dumps(row) + "\n")
            state.flush()
            done[row["regime"], row["index"]] = row
            sys.stderr.write(f"\r{number}/{len(todo)} ")
    record: dict[str, Any] = {"machine": describe_machine(*PACKAGES), "seed": SEED, "regimes": {}}
    for regime in REGIMES:
        chosen = [done[key] for key in wanted if key[0] == regime]
        groups = {
            "all": chosen,
            "labeled": [row for row in chosen if row["labeled"]],
            "unlabeled": [row for row in chosen if not row["labeled"]],
        }
        record["regimes"][regime] = {}
        for group, members in groups.items():
            if members:
                figures = summary(members)
                record["regimes"][regime][group] = figures
                print(printed(regime, group, figures), end="\n\n", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
