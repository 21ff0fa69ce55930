"""A process that scores cases by one side and times it, and the end that talks to it.

``python metrics_worker.py`` reads one JSON object a line and answers with one. A case that comes
first is loaded and stays; only the scoring itself is inside the clock. It runs in the peers'
interpreter too.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from metrics_sides import SIDES, Case
from resident import resident_mib

__all__ = ["Times", "Worker"]


class Worker:
    """The other end: starts the process in an interpreter, and ends it."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-u", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def score(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return time, memory and scores of one run."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {request['side']} ended on work {request['work']}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Times:
    """What the runs of one side took, in s."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, answer: dict[str, Any]) -> None:
        """Keep one answer of a worker."""
        self.wall.append(answer["time_s"])
        self.processor.append(answer["processor_s"])
        self.scores = answer["scores"]

    @property
    def median(self) -> float:
        """Return the median of the wall clock."""
        return statistics.median(self.wall)

    def record(self) -> dict[str, Any]:
        """Return what the JSON keeps."""
        return {
            "median_s": round(self.median, 4),
            "least_s": round(min(self.wall), 4),
            "most_s": round(max(self.wall), 4),
            "processor_median_s": round(statistics.median(self.processor), 4),
            "runs": len(self.wall),
        }


def loaded(request: dict[str, Any]) -> Case:
    rules = None
    if "ours" in request["side"]:
        # Not at the top: a peer's interpreter has none of ours.
        from metrics_work import protocol_of

        rules = protocol_of(request["work"])
    return Case(
        prediction=np.load(request["prediction"]),
        reference=np.load(request["reference"]),
        spacing_mm=tuple(request["spacing_mm"]),
        tolerances_mm={int(label): mm for label, mm in request["tolerances_mm"].items()},
        rules=rules,
    )


def warm_up(side: str, rules: Any) -> None:
    """Score two small masks, so that no import is timed."""
    prediction = np.zeros((12, 12, 12), np.uint8)
    reference = prediction.copy()
    prediction[3:7, 3:8, 3:9] = 1
    reference[3:9, 3:7, 4:9] = 1
    case = Case(prediction, reference, (2.5, 0.8, 0.8), {1: 2.0}, rules)
    for distances in (False, True):
        # An engine without distances is warm enough.
        with contextlib.suppress(TypeError):
            SIDES[side](case, distances=distances)


def main() -> int:
    warnings.simplefilter("ignore")
    # What a peer prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    cases: dict[str, Case] = {}
    for line in sys.stdin:
        request = json.loads(line)
        side = request["side"]
        if request["work"] not in cases:
            cases.clear()
            cases[request["work"]] = loaded(request)
            warm_up(side, cases[request["work"]].rules)
        case = cases[request["work"]]
        gc.collect()
        before = resident_mib("VmRSS")
        processor, start = time.process_time(), time.perf_counter()
        scores = SIDES[side](case, distances=request["distances"])
        time_s = time.perf_counter() - start
        processor_s = time.process_time() - processor
        answer = {
            "time_s": time_s,
            "processor_s": processor_s,
            # Of the process's whole life, so it is this call's only where the call is the first.
            "growth_mib": max(0.0, resident_mib() - before),
            "scores": scores,
        }
        answers.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
