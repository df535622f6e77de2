"""VICReg: variance-invariance-covariance regularization.

Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning", ICLR 2022, arXiv 2105.04906. Equations are numbered as there; author code:
https://github.com/facebookresearch/vicreg/blob/4e12602fd495af83efd1631fbe82523e6db092e0/main_vicreg.py

    l(Z, Z') = lambda s(Z, Z') + mu [v(Z) + v(Z')] + nu [c(Z) + c(Z')]        (6)

Z and Z' (N, D) are the embeddings of two views; N counts the samples of the global batch.

Deviation from equation (6), as in the author code: v is halved, so that both views together weigh mu.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dejavu_lightning.losses.global_views import global_views
from dejavu_lightning.losses.precision import full_precision


def variance_term(z: Tensor, eps: float = 1e-4) -> Tensor:
    """v(Z) = mean over dimensions of max(0, 1 - sqrt(Var(z_j) + eps)); equations (1), (2). z (N, D)."""
    return torch.relu(1 - torch.sqrt(z.var(dim=0) + eps)).mean()


def covariance_term(z: Tensor) -> Tensor:
    """c(Z) = sum of squared off-diagonal covariances, divided by D; equations (3), (4). z (N, D)."""
    samples, dimensions = z.shape
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (samples - 1)  # D, D
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / dimensions


@full_precision
def vicreg_loss(
    z_a: Tensor,
    z_b: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    eps: float = 1e-4,
) -> Tensor:
    """Compute the VICReg loss of two views, equation (6) of Bardes et al. (2022, arXiv 2105.04906).

    In a distributed run every rank passes its own samples; both tensors are gathered with gradient, so
    that statistics are those of the global batch.

    Args:
        z_a, z_b: (B, D) embeddings of the two views of the same samples.
        invariance, variance, covariance: lambda, mu and nu of equation (6).
        eps: inside the square root of the standard deviation.

    Returns:
        0-dim loss, 0 or more, the same on every rank.

    Raises:
        ValueError: shapes differ, or the global batch has fewer than two samples.

    Example:
        >>> from torch import tensor, zeros
        >>> z = tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
        >>> f"{vicreg_loss(z, z):.2f} {vicreg_loss(zeros(4, 2), zeros(4, 2)):.2f}"  # spread, and collapsed
        '0.00 24.75'
    """
    z_a, z_b = global_views(z_a, z_b)  # N, D
    if len(z_a) < 2:
        raise ValueError("VICReg's variance needs a global batch of at least 2 samples, got 1")
    similarity = nn.functional.mse_loss(z_a, z_b)  # s, equation (5), averaged over dimensions
    spread = (variance_term(z_a, eps) + variance_term(z_b, eps)) / 2
    redundancy = covariance_term(z_a) + covariance_term(z_b)
    return invariance * similarity + variance * spread + covariance * redundancy


class VICRegLoss(nn.Module):
    """VICReg loss with its coefficients fixed, see :func:`vicreg_loss`.

    Args:
        invariance, variance, covariance: lambda, mu and nu of equation (6).
        eps: inside the square root of the standard deviation.

    Example:
        >>> from torch import zeros
        >>> round(float(VICRegLoss(variance=10.0)(zeros(4, 2), zeros(4, 2))), 2)
        9.9
    """

    def __init__(
        self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, eps: float = 1e-4
    ) -> None:
        super().__init__()
        self.coefficients = {"invariance": invariance, "variance": variance, "covariance": covariance, "eps": eps}

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """z_a, z_b (B, D) -> 0-dim."""
        return vicreg_loss(z_a, z_b, **self.coefficients)
