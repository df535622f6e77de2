"""CLIP: each image finds its caption among all captions of the batch, and each caption its image.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
arXiv 2103.00020, figure 3: with unit vectors I_i of images and T_i of captions and logits l_ij = I_i . T_j / t,

    L = 1/2 [ 1/N sum_i -log softmax_j(l_ij)_i  +  1/N sum_j -log softmax_i(l_ij)_j ]

The arithmetic is open_clip's; what is ours is that ranks may hold batches of different size.
"""

from __future__ import annotations

import torch
from open_clip import ClipLoss
from torch import Tensor, nn

from dejavu_lightning.core.distributed import gather_rows, world
from dejavu_lightning.losses.precision import full_precision


@full_precision
def clip_loss(image: Tensor, text: Tensor, *, temperature: Tensor, local_loss: bool = False) -> Tensor:
    """Compute CLIP's contrastive loss of images and captions over the global batch.

    Radford et al. (2021, arXiv 2103.00020, figure 3). In a distributed run every rank passes its own pairs, as many as
    it has; embeddings are gathered with gradient.

    Args:
        image, text: (B, D) unit vectors of the pairs.
        temperature: 0-dim, divides the cosines; positive.
        local_loss: compare only the own pairs with all others, which needs N x B instead of N x N logits; the
            ranks' mean is the same loss, with the same gradient once DistributedDataParallel has averaged it.

    Returns:
        0-dim loss, 0 or more; without ``local_loss`` the same on every rank.

    Raises:
        ValueError: shapes differ.

    Example:
        >>> from torch import eye, tensor
        >>> right, wrong = eye(2), eye(2).flip(0)
        >>> round(float(clip_loss(right, right, temperature=tensor(0.5))), 3)
        0.127
        >>> round(float(clip_loss(right, wrong, temperature=tensor(0.5))), 3)
        2.127
    """
    if image.ndim != 2 or image.shape != text.shape:
        raise ValueError(f"image and text must have the same shape (B, D), got {(*image.shape,)} and {(*text.shape,)}")
    all_image, first = gather_rows(image)
    all_text, _ = gather_rows(text)
    if not local_loss:
        loss: Tensor = ClipLoss()(all_image, all_text, 1 / temperature)
        return loss
    own = torch.arange(first, first + len(image), device=image.device)
    sums = [
        nn.functional.cross_entropy(mine @ others.T / temperature, own, reduction="sum")
        for mine, others in ((image, all_text), (text, all_image))
    ]
    return (sums[0] + sums[1]) / 2 * world()[1] / len(all_image)
