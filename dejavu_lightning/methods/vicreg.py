"""VICReg (Bardes et al. 2022, arXiv 2105.04906): two views, one network, no negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dejavu_lightning.losses.vicreg_loss import VICRegLoss
from dejavu_lightning.methods.base import SelfSupervisedMethod


class VICReg(SelfSupervisedMethod):
    """Train with VICReg's loss on batches with two ``views``.

    Bardes et al. (2022, arXiv 2105.04906); see :func:`~dejavu_lightning.losses.vicreg_loss.vicreg_loss`.

    Args:
        invariance, variance, covariance: coefficients of the three terms.
        settings: arguments of :class:`~dejavu_lightning.methods.base.SelfSupervisedMethod`.

    Example:
        >>> import torch
        >>> model = VICReg(backbone="small_resnet", projector_widths=(64, 16), image_size=32)
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape  # what is attacked: the projector's output
        torch.Size([2, 16])
    """

    def __init__(
        self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.loss = VICRegLoss(invariance, variance, covariance)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """batch["views"]: two (B, 3, H, W)."""
        view_a, view_b = self.two_views(batch)
        return self.log_loss(self.loss(self(view_a), self(view_b)), len(view_a))
