"""Cases in processes of their own, so that one that dies costs one case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flare_metrics.case_result import CaseResult
from flare_metrics.file_pair import Options, failed_row, score_pair_or_row
from flare_metrics.pairs import Pair

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

__all__ = ["score_pairs"]


def score_pairs(pairs: Sequence[Pair], options: Options, *, jobs: int) -> Iterator[CaseResult]:
    """Yield the result of every pair, in order.

    Parameters
    ----------
    pairs : sequence of Pair
    options : Options
    jobs : int
        Processes; 1 means this one.

    Notes
    -----
    A worker that the system kills takes the pool with it. Its case is tried once more alone; dying
    again makes it a failed row. The others go on in a new pool, finished ones are kept. Left
    early, as by Ctrl-C, the pool drops what has not begun and waits for the cases under way; a
    second Ctrl-C kills those.
    """
    if jobs == 1 or len(pairs) < 2:
        for pair in pairs:
            yield score_pair_or_row(pair, options)
        return
    finished: dict[int, CaseResult] = {}
    at = 0
    while at < len(pairs):
        for result in _until_a_worker_dies(pairs, options, at, jobs, finished):
            at += 1
            yield result
        if at < len(pairs):
            yield _score_apart(pairs[at], options)
            at += 1


def _until_a_worker_dies(
    pairs: Sequence[Pair],
    options: Options,
    begin: int,
    jobs: int,
    finished: dict[int, CaseResult],
) -> Iterator[CaseResult]:
    """Yield results in order from one pool; what it finished out of order stays in ``finished``."""
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import active_children

    others = set(active_children())
    pool = _pool(min(jobs, len(pairs) - begin))
    futures: dict[int, Future[CaseResult]] = {}
    try:
        for k in range(begin, len(pairs)):
            if k not in finished:
                futures[k] = pool.submit(score_pair_or_row, pairs[k], options)
        for k in range(begin, len(pairs)):
            yield finished.pop(k) if k in finished else futures.pop(k).result()
    except BrokenProcessPool:
        done = {k: future for k, future in futures.items() if future.done()}
        finished |= {k: future.result() for k, future in done.items() if not future.exception()}
    finally:
        try:
            pool.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:
            for worker in set(active_children()) - others:
                worker.kill()
            pool.shutdown(wait=True)
            raise


def _score_apart(pair: Pair, options: Options) -> CaseResult:
    from concurrent.futures.process import BrokenProcessPool

    with _pool(1) as pool:
        try:
            return pool.submit(score_pair_or_row, pair, options).result()
        except BrokenProcessPool:
            rule = "the worker died, perhaps for lack of memory"
            return failed_row(pair, {"kind": "resources", "source": pair.case, "rule": rule})


def _pool(workers: int) -> ProcessPoolExecutor:
    import multiprocessing
    import signal
    from concurrent.futures import ProcessPoolExecutor

    # Not fork: the caller may hold threads and locks. Ctrl-C is for the parent, which then lets
    # the cases under way end.
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
