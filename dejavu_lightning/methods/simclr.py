"""SimCLR (Chen et al. 2020, arXiv 2002.05709): two views, one network, all other samples are negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dejavu_lightning.losses.nt_xent_loss import NTXentLoss
from dejavu_lightning.methods.base import SelfSupervisedMethod


class SimCLR(SelfSupervisedMethod):
    """Train with SimCLR's loss, NT-Xent, on batches with two ``views``.

    Chen et al. (2020, arXiv 2002.05709); see :func:`~dejavu_lightning.losses.nt_xent_loss.nt_xent_loss`.

    Args:
        temperature: tau, divides the cosines.
        projector_widths: the projector's layers; the paper's are (2048, 128).
        settings: more arguments of :class:`~dejavu_lightning.methods.base.SelfSupervisedMethod`.

    Example:
        >>> import torch
        >>> model = SimCLR(temperature=0.2, backbone="small_resnet", projector_widths=(64, 16), image_size=32)
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self, temperature: float = 0.15, projector_widths: Sequence[int] = (2048, 128), **settings: Any
    ) -> None:
        super().__init__(projector_widths=projector_widths, **settings)
        self.loss = NTXentLoss(temperature)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """batch["views"]: two (B, 3, H, W)."""
        view_a, view_b = self.two_views(batch)
        return self.log_loss(self.loss(self(view_a), self(view_b)), len(view_a))
