"""Cross-entropy on labels: the supervised baseline, on the same crops as the self-supervised methods.

Meehan et al. (2023, arXiv 2304.13850) compare with it: a model that is given the labels.
"""

from __future__ import annotations

from torch import Tensor, nn

from dejavu_lightning.core.distributed import gather_batch
from dejavu_lightning.losses.precision import full_precision


@full_precision
def supervised_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute softmax cross-entropy on labels, averaged over the global batch.

    Args:
        logits: (B, C).
        labels: (B,) int64 in [0, C).

    Returns:
        0-dim loss in nats, 0 or more, the same on every rank.

    Example:
        >>> from torch import tensor, zeros
        >>> round(float(supervised_loss(zeros(2, 10), tensor([3, 7]))), 4)  # log 10
        2.3026
    """
    return gather_batch(nn.functional.cross_entropy(logits, labels, reduction="none")).mean()
