"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): two views, one network, decorrelated dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dejavu_lightning.losses.barlow_twins_loss import BarlowTwinsLoss
from dejavu_lightning.methods.base import SelfSupervisedMethod


class BarlowTwins(SelfSupervisedMethod):
    """Train with Barlow Twins' loss on batches with two ``views``.

    Zbontar et al. (2021, arXiv 2103.03230); see :func:`~dejavu_lightning.losses.barlow_twins_loss.barlow_twins_loss`.

    Args:
        redundancy: lambda, the weight of the off-diagonal correlations.
        settings: arguments of :class:`~dejavu_lightning.methods.base.SelfSupervisedMethod`.

    Example:
        >>> import torch
        >>> model = BarlowTwins(backbone="small_resnet", projector_widths=(64, 16), image_size=32)
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    def __init__(self, redundancy: float = 0.0051, **settings: Any) -> None:
        super().__init__(**settings)
        self.loss = BarlowTwinsLoss(redundancy)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """batch["views"]: two (B, 3, H, W)."""
        view_a, view_b = self.two_views(batch)
        return self.log_loss(self.loss(self(view_a), self(view_b)), len(view_a))
