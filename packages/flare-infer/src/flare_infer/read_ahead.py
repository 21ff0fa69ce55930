"""The next case of a run, read in a thread while the network works on the present one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING

from flare_infer.case_input import CaseInput
from flare_infer.inputs import CaseFiles
from flare_infer.memory import volume_grid
from flare_io.free_memory import available_bytes
from flare_io.policy import ReadPolicy

if TYPE_CHECKING:
    from flare_infer.predictor import Predictor
    from flare_infer.spec import Mode

__all__ = ["ReadAhead", "reading_mib", "room_beside"]

# Most formats are held twice for a moment while they are read.
_HELD_WHILE_READ = 2
# A shift of all values passes through 64-bit integers.
_SHIFTED_BYTES = 8


class ReadAhead:
    """Hands out the cases of a run in order; a context, behind which no thread is left.

    Parameters
    ----------
    cases : sequence of CaseFiles
    read : callable
        Reads a case.
    room_mib : callable
        How much memory is left for reading while a case is worked on.
    needed_mib : callable
        How much of it reading a case takes; called in the thread.
    """

    def __init__(
        self,
        cases: Sequence[CaseFiles],
        read: Callable[[CaseFiles], CaseInput],
        *,
        room_mib: Callable[[CaseInput], float],
        needed_mib: Callable[[CaseFiles], float],
    ) -> None:
        self._following = {one.id: other for one, other in pairwise(cases)}
        self._read, self._room_mib, self._needed_mib = read, room_mib, needed_mib
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flare-infer-read")
        self._begun: Future[CaseInput | None] | None = None

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()

    def take(self, case: CaseFiles) -> CaseInput:
        """Return the case whose turn it is, and begin to read the one behind it if both fit.

        Raises
        ------
        DataError, OSError
            From reading. What failed in the thread is tried again here: it may have been for lack
            of memory, beside another case.
        """
        found = self._read_before() or self._read(case)
        following = self._following.get(case.id)
        # A case that is kept leaves no time to read another in.
        if following is not None and found.channels:
            room_mib = self._room_mib(found)
            self._begun = self._thread.submit(self._read_within, following, room_mib)
        return found

    def _read_before(self) -> CaseInput | None:
        begun, self._begun = self._begun, None
        return None if begun is None or begun.exception() is not None else begun.result()

    def _read_within(self, case: CaseFiles, room_mib: float) -> CaseInput | None:
        return self._read(case) if self._needed_mib(case) <= room_mib else None


def room_beside(predictor: Predictor, mode: Mode | None, present: CaseInput) -> float:
    """Return the memory, in MiB, that a case leaves while it is predicted.

    Parameters
    ----------
    predictor : Predictor
        Its ``memory_mib`` is what there is; without it what the machine has free, none where that
        is not known.
    mode : {"fast", "exact"}, optional
    present : CaseInput
        With channels.
    """
    budget_mib = predictor.memory_mib
    if budget_mib is None:
        budget_mib = (available_bytes() or 0) // 2**20
    shape, spacing_mm = volume_grid(present.channels[0], predictor.model.spec.preprocessing)
    plan = predictor.explain(
        shape,
        spacing_mm=spacing_mm,
        mode=mode,
        voxel_bytes=sum(channel.array.itemsize for channel in present.channels),
        measure=False,
    )
    return budget_mib - plan.peak_mib


def reading_mib(case: CaseFiles, policy: ReadPolicy) -> float:
    """Return the memory that reading a case takes, by its headers.

    Raises
    ------
    DataError, OSError
        If a header is refused.
    """
    from flare_io.files import read_header

    shifted = _SHIFTED_BYTES if policy.hu_offset is not None else 0
    headers = [read_header(path, policy=policy) for path in case.paths]
    needed = sum(
        math.prod(header.shape) * (_HELD_WHILE_READ * header.dtype.itemsize + shifted)
        for header in headers
    )
    return needed / 2**20
