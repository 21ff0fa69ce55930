"""Many cases side by side in a stated memory: what a case will need, and when it may start.

The need is predicted from the headers of the files. Work that would not fit in the memory waits,
work that can never fit is refused before anything is read.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from flare_io.free_memory import available_bytes
from flare_io.preprocessing import Preprocessing

__all__ = ["groups_that_fit", "preparation_bytes", "run_admitted"]

logger = logging.getLogger(__name__)

_SHARE = 0.8
# A process with this package loaded, what the system's allocator keeps back, and what resampling
# takes however small the case.
_PROCESS_BYTES = 320 * 2**20
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


def preparation_bytes(
    images: Sequence[Path], preprocessing: Preprocessing, *, label_maps: int = 0
) -> int:
    """Predict the peak memory of preparing and storing one case.

    Parameters
    ----------
    images : sequence of Path
        One file per channel; only headers are read.
    preprocessing : Preprocessing
    label_maps : int, optional
        Label and provenance maps on the same grid.

    Returns
    -------
    int
        An upper estimate, a process included; 0 for a file that cannot be read, whose error the
        work itself will tell.

    Notes
    -----
    With S voxels in the file and T after resampling: the files, then whichever is most of labels
    (6 bytes for the largest array on the way), image (4 S + 4 T and up to 160 planes of 8 bytes a
    pixel) and storing (6 T per channel and 6 T). Calibrated on CT of 512 x 512 x 60 to 215, where
    it is 1.2 to 2.5 times the peak.
    """
    from flare_io.files import read_header
    from flare_io.geometry import canonical_axis_order
    from flare_io.resample import target_shape

    try:
        headers = [read_header(path) for path in images]
    except (OSError, ValueError):
        return 0
    order = tuple(range(3))
    if preprocessing.axes == "canonical":
        order = canonical_axis_order(headers[0].geometry).permutation
    axes = [order[axis] for axis in preprocessing.transpose]
    shape = [headers[0].shape[axis] for axis in axes]
    spacing = [headers[0].geometry.spacing_mm[axis] for axis in axes]
    target = target_shape(shape, spacing, preprocessing.spacing_mm or spacing)
    before, after = _product(shape), _product(target)
    files = before * (sum(header.dtype.itemsize for header in headers) + label_maps)
    on_the_way = max(after, target[0] * shape[1] * shape[2], target[0] * target[1] * shape[2])
    plane = max(shape[1] * shape[2], target[1] * target[2])
    planes = 8 * plane * min(160, 2 * (shape[0] + target[0]))
    channels = len(headers)
    phases = (
        files + 6 * on_the_way * (label_maps > 0),
        files + after * label_maps + 4 * (before + channels * after) + planes,
        6 * after * (channels + 1),
    )
    return _PROCESS_BYTES + int(1.1 * max(phases))


def _product(shape: Sequence[int]) -> int:
    z, y, x = shape
    return int(z) * int(y) * int(x)


def groups_that_fit(
    needs: Mapping[str, int], *, jobs: int, memory_bytes: int | None
) -> list[tuple[int, list[str]]]:
    """Sort work into groups that can run at the same time.

    Parameters
    ----------
    needs : mapping of str to int
        Peak bytes by name.
    jobs : int
        Most pieces at a time, >= 1.
    memory_bytes : int or None
        Memory for all of them; None: no limit.

    Returns
    -------
    list of (int, list of str)
        How many of a group may run side by side, and its names. The large ones come first.

    Raises
    ------
    MemoryError
        If a piece alone does not fit, by name.

    Examples
    --------
    >>> groups_that_fit({"a": 3, "b": 9, "c": 4}, jobs=4, memory_bytes=10)
    [(1, ['b']), (2, ['c']), (3, ['a'])]
    """
    if jobs < 1:
        raise ValueError(f"jobs must be >= 1, got {jobs}")
    groups: dict[int, list[str]] = {}
    for name in sorted(needs, key=lambda name: (-needs[name], name)):
        together = jobs
        if memory_bytes is not None and needs[name] > 0:
            together = min(jobs, memory_bytes // needs[name])
        if together < 1:
            raise MemoryError(
                f"{name}: needs about {needs[name] / 2**30:.1f} GiB of memory, of which "
                f"{(memory_bytes or 0) / 2**30:.1f} GiB may be taken; end other programs, allow "
                "more, choose a coarser spacing or leave the case out"
            )
        groups.setdefault(together, []).append(name)
    return sorted(groups.items())


@dataclass(frozen=True)
class _Outcome:
    name: str
    value: Any = None
    error: Exception | None = None


def run_admitted(
    tasks: Mapping[str, Callable[[], Any]],
    needs: Mapping[str, int],
    *,
    jobs: int = 1,
    memory_bytes: int | None = None,
) -> Iterator[tuple[str, Any]]:
    """Run tasks in processes, as many at a time as fit in the memory.

    Parameters
    ----------
    tasks : mapping of str to callable
        By name; each can be pickled.
    needs : mapping of str to int
        Peak bytes of each.
    jobs : int, optional
        Most tasks at a time; 1 runs them in this process.
    memory_bytes : int, optional
        Memory for all of them; None: 0.8 of what is free.

    Yields
    ------
    (str, object)
        Name and result of a task as it ends well.

    Raises
    ------
    MemoryError
        If a task alone does not fit, or a process was killed.
    Exception
        What the first failed task raised, in the order given, after all others have run; the errors
        of the others go to the log. A full disk ends everything at once.
    """
    if memory_bytes is None and (free := available_bytes()) is not None:
        memory_bytes = int(_SHARE * free)
    failed: dict[str, Exception] = {}
    left = set(tasks)
    for together, names in groups_that_fit(needs, jobs=jobs, memory_bytes=memory_bytes):
        work = Parallel(n_jobs=min(together, len(names)), return_as="generator_unordered")(
            delayed(_attempt)(name, tasks[name]) for name in names
        )
        try:
            for outcome in work:
                left.discard(outcome.name)
                if outcome.error is None:
                    yield outcome.name, outcome.value
                    continue
                failed[outcome.name] = outcome.error
                if getattr(outcome.error, "errno", None) in _DISK_IS_FULL:
                    raise outcome.error
        except TerminatedWorkerError as error:
            raise MemoryError(
                f"a process was killed while {len(left)} cases were not done "
                f"({', '.join(sorted(left)[:3])}, ...), most likely for lack of memory; what is "
                "done is kept: run the same command again with fewer jobs"
            ) from error
    if failed:
        first, *others = (name for name in tasks if name in failed)
        for name in others:
            logger.error("%s: %s", name, failed[name])
        raise failed[first]


def _attempt(name: str, task: Callable[[], Any]) -> _Outcome:
    try:
        return _Outcome(name, task())
    except Exception as error:
        return _Outcome(name, error=error)
