"""A device with its streams and its memory; on the CPU nothing but the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Mark", "Place"]

# Typed in part only.
_cuda: Any = torch.cuda


@dataclass(frozen=True)
class Mark:
    """A moment in the work of a stream.

    Parameters
    ----------
    event : torch.cuda.Event or None
        None on the CPU, where what was asked for is done.
    """

    event: Any = None

    def wait(self) -> None:
        """Stop the host until the device has come so far."""
        if self.event is not None:
            self.event.synchronize()


@dataclass(frozen=True)
class Place:
    """Where a case is worked on: one stream for arithmetic, one for each way of copying.

    Buffers come from a pool of their own that the graph shares: when both are forgotten, all of it
    can be given back.

    Parameters
    ----------
    device : torch.device
    compute, upload, download : torch.cuda.Stream or None
    pool : torch.cuda.MemPool or None
    """

    device: torch.device
    compute: Any = None
    upload: Any = None
    download: Any = None
    pool: Any = None

    @classmethod
    def open(cls, device: torch.device | str) -> Place:
        """Return a place on a device; the first one of a process creates the CUDA context."""
        chosen = torch.device(device)
        if chosen.type != "cuda":
            return cls(chosen)
        if chosen.index is None:
            chosen = torch.device("cuda", torch.cuda.current_device())
        # What a coarse pass has left is of no use to a pool of its own.
        torch.cuda.empty_cache()
        compute, upload, download = (_cuda.Stream(chosen) for _ in range(3))
        return cls(chosen, compute, upload, download, torch.cuda.MemPool())

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    @contextmanager
    def working(self, stream: Any = None) -> Iterator[None]:
        """Put work on a stream, that for arithmetic by default.

        Entered around each piece of work and not around a generator: what runs between its items is
        not ours.
        """
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self.is_cuda:
                stack.enter_context(torch.cuda.stream(stream or self.compute))
            yield

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """Take the memory of new tensors from the pool; not to be entered twice at a time."""
        with self.working(), ExitStack() as stack:
            if self.is_cuda:
                stack.enter_context(torch.cuda.use_mem_pool(self.pool, self.device))
            yield

    def mark(self, stream: Any = None) -> Mark:
        """Return this moment in the work of a stream."""
        if not self.is_cuda:
            return Mark()
        event = _cuda.Event()
        event.record(stream or self.compute)
        return Mark(event)

    def order(self, mark: Mark, stream: Any = None) -> None:
        """Let what is put on a stream from now on wait for a mark; the host goes on."""
        if mark.event is not None:
            (stream or self.compute).wait_event(mark.event)

    def host_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Return memory of the host, page-locked where a device copies from it or to it."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.is_cuda)

    def wait(self) -> None:
        """Stop the host until all work is done."""
        for stream in (self.compute, self.upload, self.download):
            if stream is not None:
                stream.synchronize()
