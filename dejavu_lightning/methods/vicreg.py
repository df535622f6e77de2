"""VICReg (Bardes et al. 2022, arXiv 2105.04906): two views, one network, no negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dejavu_lightning.losses.vicreg_loss import VICRegLoss
from dejavu_lightning.methods.base import SelfSupervisedMethod


class VICReg(SelfSupervisedMethod):
    """Trains with :func:`~dejavu_lightning.losses.vicreg_loss` on batches with two ``views``.

    Args:
        invariance, variance, covariance: coefficients of the three terms.
        settings: arguments of :class:`~dejavu_lightning.methods.base.SelfSupervisedMethod`.
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
