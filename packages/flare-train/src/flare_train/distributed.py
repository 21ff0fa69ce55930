"""The processes that train one net together, started by ``torchrun``; alone, everything is a no-op.

The device of a process is the one of its local rank. Small things (a request to stop, scores) go
over gloo, gradients and sums of the loss over NCCL where the nets are on CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from flare_nets.unet import UNet

__all__ = ["ALONE", "ParallelNet", "World", "join_world"]

T = TypeVar("T")
# Rank 0 may prepare a whole dataset while the others wait.
_PATIENCE = timedelta(days=2)
# Groups that were left, kept to the end of the process: gloo's destructor holds Python's lock while
# it waits for a thread of its own, which may need that lock to let go of the last tensor.
_LEFT: list[Any] = []


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Parameters
    ----------
    rank : int
        Number of this process, from 0. Rank 0 writes all files.
    size : int
        Number of processes.
    device : torch.device
        Where this one computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process; every process has to ask."""
        if self.size == 1:
            return flag
        raised = torch.tensor([int(flag)])
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return bool(raised)

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes by rank, in each of them."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def share(self, value: T) -> T:
        """Return the value of rank 0 in every process."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        shared: T = box[0]
        return shared

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes; it carries no gradient."""
        if self.size == 1:
            return value.detach()
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size


ALONE = World()


@contextmanager
def join_world(device: torch.device | str = "cpu") -> Iterator[World]:
    """Enter the group of processes that ``torchrun`` started, and leave it at the end.

    Parameters
    ----------
    device : torch.device or str, optional
        ``"cuda"`` becomes the device of the local rank.

    Yields
    ------
    World
        Alone, unless the environment names more processes (``WORLD_SIZE``). Inside a group that was
        joined before, that group, which stays.

    Raises
    ------
    ValueError
        If there are fewer devices than processes on this machine.
    """
    own = torch.device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 and not dist.is_initialized():
        yield World(device=own)
        return
    if own.type == "cuda" and own.index is None:
        own = _device_of_rank(int(os.environ.get("LOCAL_RANK", "0")))
    joined_before = dist.is_initialized()
    if not joined_before:
        backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
        # All have connected: one that fails at once does not break the others' connections.
        dist.all_reduce(torch.zeros(1))
    try:
        yield World(dist.get_rank(), dist.get_world_size(), own)
    finally:
        if not joined_before:
            _LEFT.append(dist.group.WORLD)
            dist.destroy_process_group()


class ParallelNet:
    """All outputs of a net for training, its gradients averaged over the processes.

    Parameters
    ----------
    net : UNet
        On its device. In a group, all take the weights of rank 0.

    Notes
    -----
    Alone, it calls the net itself.
    """

    def __init__(self, net: UNet) -> None:
        self._net = net
        self._parallel: DistributedDataParallel | None = None
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            device = next(net.parameters()).device
            self._parallel = DistributedDataParallel(
                _AllLevels(net),
                device_ids=[device.index] if device.type == "cuda" else None,
                # The coarsest of several outputs has weight 0 in the loss.
                find_unused_parameters=len(net.heads) > 1,
            )

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the logits of every head, finest first."""
        call: Callable[[Tensor], list[Tensor]] = self._parallel or self._net.forward_all
        return call(images)

    def alone(self) -> AbstractContextManager[None]:
        """Return a context in which gradients only add up here: all but the last part."""
        return nullcontext() if self._parallel is None else self._parallel.no_sync()


class _AllLevels(nn.Module):
    def __init__(self, net: UNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.net.forward_all(images)


def _device_of_rank(rank: int) -> torch.device:
    if rank >= torch.cuda.device_count():
        raise ValueError(
            f"torchrun must start one process per CUDA device, found {torch.cuda.device_count()} "
            f"device(s) for local rank {rank}; lower --nproc-per-node"
        )
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)
