"""Cross-entropy on labels: the supervised baseline, on the same crops as the self-supervised methods.

Meehan et al. (2023, arXiv 2304.13850) compare with it: a model that is given the labels.
"""

from __future__ import annotations

from torch import Tensor, nn

from dejavu_lightning.core.distributed import gather_batch
from dejavu_lightning.losses.precision import full_precision


@full_precision
def supervised_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy, averaged over the global batch.

    Args:
        logits: (B, C).
        labels: (B,) int64 in [0, C).

    Returns:
        0-dim loss, the same on every rank.
    """
    return gather_batch(nn.functional.cross_entropy(logits, labels, reduction="none")).mean()
