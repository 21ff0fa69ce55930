"""SIGTERM and SIGUSR1 as a polite request that the loop honors after the current step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest"]


class StopRequest:
    """Context in which a signal sets a flag instead of ending the process.

    SLURM sends SIGUSR1 or SIGTERM some time before it kills. Handlers are put back on leaving.
    Outside the main thread, where Python forbids handlers, the flag can still be set by hand.

    Examples
    --------
    >>> with StopRequest() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.requested
    True
    """

    def __init__(self) -> None:
        self.requested = False
        self.name = ""
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGTERM", "SIGUSR1"):
                # Windows has no SIGUSR1.
                number = getattr(signal, name, None)
                if number is not None:
                    self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self.name = signal.Signals(number).name
