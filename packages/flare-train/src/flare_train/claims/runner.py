"""All arms of claims in one folder, finished by calling it again."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flare_train.claims.findings import adjusted, findings_of
from flare_train.claims.measures import CaseRow, case_rows
from flare_train.claims.register import (
    Claim,
    arm_stages,
    claim_ids,
    read_claim,
    settled_document,
)
from flare_train.claims.report import ClaimResult, write_report
from flare_train.claims.shared_graph import shared_graph
from flare_train.stages.graph import Stage
from flare_train.stages.runner import run_graph
from flare_train.stages.work import StageResult

__all__ = ["run_claims"]

logger = logging.getLogger(__name__)

_Place = tuple[str, int]
_TRAINS = ("train", "pretrain")


def run_claims(
    output: os.PathLike[str] | str,
    *,
    only: Sequence[str] = (),
    seeds: int = 3,
    scale: str = "mini",
    jobs: int = 1,
    device: str = "cpu",
) -> tuple[ClaimResult, ...]:
    """Try claims of the register.

    Parameters
    ----------
    output : path
        Gets ``stages/``, and after every claim ``claims.json``, ``claims.md`` and ``cases.csv`` of
        those finished so far. A stage that was done there before is not done again.
    only : sequence of str, optional
        Claims to try, in this order; none: all.
    seeds : int, optional
        Repetitions, each with patients, weights and samples of its own; >= 1.
    scale : {"mini", "unit"}, optional
        ``mini`` takes minutes per arm; ``unit`` seconds, and learns nothing.
    jobs : int, optional
        Stages at the same time, each in a process with one thread; 1: in this process.
    device : str, optional
        Where nets run.

    Returns
    -------
    tuple of ClaimResult
        With p-values adjusted over all of them.

    Raises
    ------
    ValueError
        If a claim or scale is unknown, or `seeds` is less than 1.
    StageError
        If a stage cannot be done.
    StoppedError
        If SIGTERM or SIGUSR1 came; the same call goes on.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be >= 1, got {seeds}")
    claims = [read_claim(id) for id in dict.fromkeys(only or claim_ids())]
    graphs = {claim.id: _graphs(claim, scale=scale, seeds=seeds) for claim in claims}
    root = Path(output)
    results: list[ClaimResult] = []
    for number, claim in enumerate(claims, 1):
        logger.info("claim %d/%d %s: %s", number, len(claims), claim.id, claim.title)
        stages, names = shared_graph(graphs[claim.id])
        done = run_graph(stages, root, device=device, jobs=jobs)
        results.append(_result(claim, done, names, scale=scale))
        results = _adjusted(results)
        write_report(root, results, scale=scale, seeds=seeds, jobs=jobs)
    return tuple(results)


def _graphs(claim: Claim, *, scale: str, seeds: int) -> dict[_Place, tuple[Stage, ...]]:
    return {
        (arm.name, seed): arm_stages(claim, arm, scale=scale, seed=seed)
        for seed in claim.seeds(seeds)
        for arm in claim.arms
    }


def _result(
    claim: Claim,
    done: Mapping[str, StageResult],
    names: Mapping[_Place, Mapping[str, str]],
    *,
    scale: str,
) -> ClaimResult:
    document = settled_document(claim, claim.arms[0], scale=scale)
    organs, tumor = tuple(document["organs"]), int(document["tumor"])
    rows: list[CaseRow] = []
    seconds: dict[str, float] = {}
    for (arm, seed), place in names.items():
        scored, predicted = done[place["scored"]], done[place["predicted"]]
        rows += case_rows(claim.id, arm, seed, scored=scored, predicted=predicted)
        trained = [done[name] for name in place.values() if done[name].kind in _TRAINS]
        seconds[arm] = seconds.get(arm, 0.0) + sum(stage.seconds for stage in trained)
    return ClaimResult(
        claim=claim,
        organs=organs,
        tumor=tumor,
        rows=tuple(rows),
        training_seconds=seconds,
        findings=findings_of(claim, rows, organs=organs, tumor=tumor),
    )


def _adjusted(results: Sequence[ClaimResult]) -> list[ClaimResult]:
    """Adjust the p-values of all claims together."""
    every = iter(adjusted([finding for result in results for finding in result.findings]))
    return [
        replace(result, findings=tuple(next(every) for _ in result.findings)) for result in results
    ]
