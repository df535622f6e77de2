"""NT-Xent, the contrastive loss of SimCLR: find the other view of the same image among all of the batch.

Chen, Kornblith, Norouzi and Hinton, "A Simple Framework for Contrastive Learning of Visual Representations",
ICML 2020, arXiv 2002.05709, equation (1):

    l(i, j) = -log [ exp(sim(z_i, z_j) / tau) / sum_{k != i} exp(sim(z_i, z_k) / tau) ]

averaged over the 2N ordered pairs of views of one sample; sim is the cosine, N counts the global batch.

The default tau = 0.15 is that of Meehan et al. (2023, arXiv 2304.13850); the paper's best is 0.1 on ImageNet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dejavu_lightning.losses.global_views import global_views
from dejavu_lightning.losses.precision import full_precision


@full_precision
def nt_xent_loss(z_a: Tensor, z_b: Tensor, *, temperature: float = 0.15) -> Tensor:
    """Compute the normalised temperature-scaled cross-entropy of two views, SimCLR's loss.

    Equation (1) of Chen et al. (2020, arXiv 2002.05709). In a distributed run every rank passes its own samples; both
    tensors are gathered with gradient, so that the negatives are those of the global batch.

    Args:
        z_a, z_b: (B, D) embeddings of the two views of the same samples; of any length.
        temperature: tau, divides the cosines; positive.

    Returns:
        0-dim loss in nats, 0 or more, the same on every rank.

    Raises:
        ValueError: shapes differ, temperature is not positive, or there is no negative sample.

    Example:
        >>> from torch import ones
        >>> round(float(nt_xent_loss(ones(4, 2), ones(4, 2))), 4)  # collapsed: log 7, a guess among 7 others
        1.9459
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    z_a, z_b = global_views(z_a, z_b)  # N, D
    samples = len(z_a)
    if samples < 2:
        raise ValueError("NT-Xent contrasts with other samples: the global batch needs at least 2, got 1")
    z = nn.functional.normalize(torch.cat([z_a, z_b]), dim=1)  # 2N, D
    logits = z @ z.T / temperature  # 2N, 2N
    logits = logits.masked_fill(torch.eye(2 * samples, dtype=torch.bool, device=z.device), -torch.inf)
    other_view = torch.arange(2 * samples, device=z.device).roll(samples)
    return nn.functional.cross_entropy(logits, other_view)


class NTXentLoss(nn.Module):
    """NT-Xent loss with its temperature fixed, see :func:`nt_xent_loss`.

    Args:
        temperature: tau, divides the cosines; positive.

    Example:
        >>> from torch import eye
        >>> round(float(NTXentLoss(temperature=0.5)(eye(2), eye(2))), 4)  # log(1 + 2 exp(-2))
        0.2395
    """

    def __init__(self, temperature: float = 0.15) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """z_a, z_b (B, D) -> 0-dim."""
        return nt_xent_loss(z_a, z_b, temperature=self.temperature)
