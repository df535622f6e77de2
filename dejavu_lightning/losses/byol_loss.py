"""BYOL: predict, from one view, the teacher's projection of the other.

Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS 2020,
arXiv 2006.07733, equation (2), with q the student's prediction and z' the teacher's projection:

    L = || q / |q| - z' / |z'| ||^2 = 2 - 2 cos(q, z')

BYOL minimises the sum of L with the views in both roles.
"""

from __future__ import annotations

from torch import Tensor, nn

from dejavu_lightning.core.distributed import gather_batch
from dejavu_lightning.losses.precision import full_precision


@full_precision
def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the BYOL loss of one view predicting the other, averaged over the global batch.

    Equation (2) of Grill et al. (2020, arXiv 2006.07733): 2 - 2 cos.

    Args:
        prediction: (B, D) the student's predictions.
        target: (B, D) the teacher's projections of the other views; no gradient flows into them.

    Returns:
        0-dim loss in [0, 4], the same on every rank.

    Raises:
        ValueError: shapes differ.

    Example:
        >>> from torch import tensor
        >>> byol_loss(tensor([[1.0, 0.0]]), tensor([[0.0, 3.0]]))  # at right angles
        tensor(2.)
    """
    if prediction.ndim != 2 or prediction.shape != target.shape:
        raise ValueError(
            "prediction and target must have the same shape (B, D), got "
            f"{tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    cosine = nn.functional.cosine_similarity(prediction, target.detach(), dim=1)  # B
    return (2 - 2 * gather_batch(cosine)).mean()


class BYOLLoss(nn.Module):
    """BYOL loss with the views in both roles: the sum of :func:`byol_loss` in both directions.

    Example:
        >>> from torch import tensor
        >>> a, b = tensor([[1.0, 0.0]]), tensor([[0.0, 1.0]])
        >>> BYOLLoss()((a, b), (b, a))  # each view predicts the other's projection
        tensor(0.)
    """

    def forward(self, predictions: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
        """The student's predictions from views a, b and the teacher's projections of a, b: (B, D) each -> 0-dim."""
        return byol_loss(predictions[0], targets[1]) + byol_loss(predictions[1], targets[0])
