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


def gather_rows(local: Tensor) -> tuple[Tensor, int]:
    """:func:`gather_batch` of ranks that hold different numbers of rows, and where this rank's rows begin."""
    rank, processes = world()
    if processes == 1:
        return local, 0
    own = torch.tensor([len(local)], device=local.device)
    every = [torch.empty_like(own) for _ in range(processes)]
    dist.all_gather(every, own)
    counts = [int(count) for count in torch.cat(every).tolist()]
    padded = torch.nn.functional.pad(local, (0, 0) * (local.ndim - 1) + (0, max(counts) - len(local)))
    shares = torch.split(gather_batch(padded), max(counts))
    return torch.cat([share[:count] for share, count in zip(shares, counts, strict=True)]), sum(counts[:rank])


@torch.no_grad()
def mean_over_ranks(local: Tensor) -> Tensor:
    """Average a tensor over all ranks, without gradient; every rank gets the same."""
    if world()[1] == 1:
        return local
    total = local.clone()
    dist.all_reduce(total)
    return total / world()[1]
