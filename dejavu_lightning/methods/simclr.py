"""SimCLR (Chen et al. 2020, arXiv 2002.05709): two views, one network, all other samples are negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dejavu_lightning.losses.nt_xent_loss import NTXentLoss
from dejavu_lightning.methods.base import SelfSupervisedMethod


class SimCLR(SelfSupervisedMethod):
    """Trains with :func:`~dejavu_lightning.losses.nt_xent_loss` on batches with two ``views``.

    Args:
        temperature: tau, divides the cosines.
        projector_widths: the projector's layers; the paper's are (2048, 128).
        settings: more arguments of :class:`~dejavu_lightning.methods.base.SelfSupervisedMethod`.
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
