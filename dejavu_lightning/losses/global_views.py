"""Gather the two views of the global batch."""

from __future__ import annotations

from torch import Tensor

from dejavu_lightning.core.distributed import gather_batch


def global_views(z_a: Tensor, z_b: Tensor) -> tuple[Tensor, Tensor]:
    """Gather the embeddings of both views over all ranks, with gradient: (B, D) each -> (N, D) each.

    Raises:
        ValueError: shapes differ.
    """
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(f"z_a and z_b must have the same shape (B, D), got {tuple(z_a.shape)} and {tuple(z_b.shape)}")
    return gather_batch(z_a), gather_batch(z_b)
