"""What losses and measurements need of the process group."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def gathered(value: Any) -> list[Any]:
    """``value`` of every process, by rank; tensors should be on the CPU."""
    processes = world()[1]
    if processes == 1:
        return [value]
    values: list[Any] = [None] * processes
    dist.all_gather_object(values, value)
    return values


def gather_batch(local: Tensor) -> Tensor:
    """Concatenate the (B, ...) tensors of all ranks, by rank, with gradient: (ranks * B, ...).

    The backward pass sums the ranks' gradients. A loss computed on the result by every rank therefore
    has, after DistributedDataParallel averages over ranks, the gradient of one process on the
    concatenated batch. All ranks must hold the same shape.
    """
    if world()[1] == 1:
        return local
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(local))  # type: ignore[no-untyped-call]


@torch.no_grad()
def mean_over_ranks(local: Tensor) -> Tensor:
    """Average a tensor over all ranks, without gradient; every rank gets the same."""
    if world()[1] == 1:
        return local
    total = local.clone()
    dist.all_reduce(total)
    return total / world()[1]
