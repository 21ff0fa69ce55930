"""Terms of a loss as sums that add up over ranks, and how a scalar follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Term", "mean_term", "sum_over_ranks", "total_of_terms"]


@dataclass(frozen=True)
class Term:
    """One weighted part of a loss.

    Parameters
    ----------
    sums : 1-D floating tensor
        Of this rank's samples. Those of all ranks together are their sum.
    value : callable
        From the sums of all samples to a scalar tensor.
    weight : float
    """

    sums: Tensor
    value: Callable[[Tensor], Tensor]
    weight: float


def mean_term(total: Tensor, count: Tensor, *, weight: float) -> Term:
    """Return the term `total` / `count`, 0 where `count` is 0.

    Examples
    --------
    >>> term = mean_term(torch.tensor(0.0), torch.tensor(0.0), weight=1)
    >>> term.value(term.sums)
    tensor(0.)
    """
    return Term(torch.stack([total, count.to(total.dtype)]), _ratio, weight)


def total_of_terms(terms: Sequence[Term]) -> Tensor:
    """Return the weighted sum of the terms over the samples of all ranks."""
    sizes = [len(term.sums) for term in terms]
    packed = sum_over_ranks(torch.cat([term.sums for term in terms]))
    values = [
        term.weight * term.value(sums)
        for term, sums in zip(terms, torch.split(packed, sizes), strict=True)
    ]
    total: Tensor = torch.stack(values).sum()
    return total


def sum_over_ranks(sums: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks, differentiable; alone, the tensor itself.

    Notes
    -----
    Every rank then computes the same loss of the whole batch. Backward, the gradients of the ranks'
    equal losses add up; after `DistributedDataParallel` has averaged them, what is left is the
    gradient of that one loss, as a single process would have it.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return sums
    apply: Callable[[Tensor], Tensor] = _SumOverRanks.apply
    return apply(sums)


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, sums: Tensor) -> Tensor:
        result = sums.clone()
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        result = gradient.clone()
        dist.all_reduce(result)
        return result


def _ratio(sums: Tensor) -> Tensor:
    total, count = sums.unbind()
    mean: Tensor = total / torch.where(count > 0, count, 1)
    return mean
