"""Barlow Twins: make the cross-correlation of two views the identity matrix.

Zbontar, Jing, Misra, LeCun and Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
ICML 2021, arXiv 2103.03230. Equations are numbered as there; author code:
https://github.com/facebookresearch/barlowtwins/blob/8e8d284ca0bc02f88b92328e53f9b901e86b4a3c/main.py

    L = sum_i (1 - C_ii)^2 + lambda sum_i sum_{j != i} C_ij^2        (1)

C (D, D) is the cross-correlation (2) of the embeddings Z, Z' (N, D), standardised over the N samples of the
global batch.

As in the author code: the standard deviation is the biased one with 1e-5 added to the variance, and lambda is
0.0051 (the paper rounds to 0.005).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dejavu_lightning.losses.global_views import global_views
from dejavu_lightning.losses.precision import full_precision


def cross_correlation(z_a: Tensor, z_b: Tensor, eps: float = 1e-5) -> Tensor:
    """C of equation (2); z_a, z_b (N, D) -> (D, D) in [-1, 1]."""
    z_a, z_b = (
        (z - z.mean(dim=0)) * torch.rsqrt(z.var(dim=0, correction=0) + eps)  # N, D
        for z in (z_a, z_b)
    )
    return z_a.T @ z_b / len(z_a)


@full_precision
def barlow_twins_loss(z_a: Tensor, z_b: Tensor, *, redundancy: float = 0.0051, eps: float = 1e-5) -> Tensor:
    """Compute the Barlow Twins loss of two views, equation (1) of Zbontar et al. (2021, arXiv 2103.03230).

    In a distributed run every rank passes its own samples; both tensors are gathered with gradient, so
    that C is that of the global batch.

    Args:
        z_a, z_b: (B, D) embeddings of the two views of the same samples.
        redundancy: lambda of equation (1).
        eps: added to the variances.

    Returns:
        0-dim loss, 0 or more, the same on every rank.

    Raises:
        ValueError: shapes differ, or the global batch has fewer than two samples.

    Example:
        >>> from torch import tensor
        >>> z = tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> f"{barlow_twins_loss(z, z):.3f} {barlow_twins_loss(z, -z):.3f}"  # equal views, and opposite ones
        '0.000 8.000'
    """
    z_a, z_b = global_views(z_a, z_b)  # N, D
    if len(z_a) < 2:
        raise ValueError("Barlow Twins standardises over the global batch: it needs at least 2 samples, got 1")
    correlation = cross_correlation(z_a, z_b, eps)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * off_diagonal


class BarlowTwinsLoss(nn.Module):
    """Barlow Twins loss with its coefficients fixed, see :func:`barlow_twins_loss`.

    Args:
        redundancy: lambda of equation (1).
        eps: added to the variances.

    Example:
        >>> from torch import ones
        >>> BarlowTwinsLoss(redundancy=0.01)(ones(4, 2), ones(4, 2))  # collapsed: nothing is correlated
        tensor(2.)
    """

    def __init__(self, redundancy: float = 0.0051, eps: float = 1e-5) -> None:
        super().__init__()
        self.coefficients = {"redundancy": redundancy, "eps": eps}

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """z_a, z_b (B, D) -> 0-dim."""
        return barlow_twins_loss(z_a, z_b, **self.coefficients)
