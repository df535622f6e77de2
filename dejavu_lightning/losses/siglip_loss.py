"""SigLIP: each image and each caption of the batch are told apart as a pair or not, by a sigmoid.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, arXiv 2303.15343, section 3.2: with unit vectors
I_i of images and T_j of captions, temperature t, bias b, and z_ij = 1 where i = j, else -1,

    L = -1/N sum_i sum_j log sigmoid(z_ij (I_i . T_j / t + b))

The arithmetic is open_clip's; what is ours is that ranks may hold batches of different size.
"""

from __future__ import annotations

from open_clip.loss import SigLipLoss
from torch import Tensor, nn

from dejavu_lightning.core.distributed import gather_rows, world
from dejavu_lightning.losses.precision import full_precision


@full_precision
def siglip_loss(image: Tensor, text: Tensor, *, temperature: Tensor, bias: Tensor, local_loss: bool = False) -> Tensor:
    """Compute SigLIP's sigmoid loss of images and captions over the global batch.

    Zhai et al. (2023, arXiv 2303.15343, section 3.2). In a distributed run every rank passes its own pairs, as many as
    it has; embeddings are gathered with gradient.

    Args:
        image, text: (B, D) unit vectors of the pairs.
        temperature: 0-dim, divides the cosines; positive. The paper begins at 1 / 10.
        bias: 0-dim, added to the divided cosines. The paper begins at -10, since few of all pairs belong together.
        local_loss: compare only the own images with all captions, which needs N x B instead of N x N logits; the
            ranks' mean is the same loss, with the same gradient once DistributedDataParallel has averaged it.

    Returns:
        0-dim loss, 0 or more; without ``local_loss`` the same on every rank.

    Raises:
        ValueError: shapes differ.

    Example:
        >>> from torch import eye, tensor
        >>> right, wrong = eye(2), eye(2).flip(0)
        >>> round(float(siglip_loss(right, right, temperature=tensor(0.1), bias=tensor(-5.0))), 3)
        0.013
        >>> round(float(siglip_loss(right, wrong, temperature=tensor(0.1), bias=tensor(-5.0))), 3)
        10.013
    """
    if image.ndim != 2 or image.shape != text.shape:
        raise ValueError(f"image and text must have the same shape (B, D), got {(*image.shape,)} and {(*text.shape,)}")
    all_text, first = gather_rows(text)
    if not local_loss:
        loss: Tensor = SigLipLoss()(gather_rows(image)[0], all_text, 1 / temperature, bias)
        return loss
    logits = SigLipLoss().get_logits(image, all_text, 1 / temperature, bias)  # (B, N)
    signs = -logits.new_ones(logits.shape)
    signs.diagonal(first).fill_(1)  # own image i belongs to caption first + i
    return -nn.functional.logsigmoid(signs * logits).sum() * world()[1] / len(all_text)
