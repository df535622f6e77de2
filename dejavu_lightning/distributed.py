"""What losses need of the process group."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def gather_batch(local: Tensor) -> Tensor:
    """Concatenate the (B, ...) tensors of all ranks, by rank, with gradient: (ranks * B, ...).

    The backward pass sums the ranks' gradients. A loss computed on the result by every rank therefore
    has, after DistributedDataParallel averages over ranks, the gradient of one process on the
    concatenated batch. All ranks must hold the same shape.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return local
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(local))  # type: ignore[no-untyped-call]


@torch.no_grad()
def mean_over_ranks(local: Tensor) -> Tensor:
    """Average a tensor over all ranks, without gradient; every rank gets the same."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return local
    total = local.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
