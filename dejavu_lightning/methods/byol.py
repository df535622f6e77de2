"""BYOL (Grill et al. 2020, arXiv 2006.07733): the student predicts what the teacher makes of the other view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dejavu_lightning.losses.byol_loss import BYOLLoss
from dejavu_lightning.methods.momentum import MomentumMethod
from dejavu_lightning.models.heads import projector


class BYOL(MomentumMethod):
    """Train with BYOL's loss on batches with two ``views``: the student predicts the teacher's projections.

    Grill et al. (2020, arXiv 2006.07733); see :func:`~dejavu_lightning.losses.byol_loss.byol_loss`.

    Args:
        projector_widths: the projector's layers; the paper's are (4096, 256).
        predictor_widths: the predictor's hidden layers; its output is as wide as the projector's.
        settings: more arguments of :class:`~dejavu_lightning.methods.momentum.MomentumMethod`.

    Raises:
        ValueError: there is no projector.

    Example:
        >>> import torch
        >>> model = BYOL(backbone="small_resnet", projector_widths=(64, 16), predictor_widths=(32,), image_size=32)
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self, projector_widths: Sequence[int] = (4096, 256), predictor_widths: Sequence[int] = (4096,), **settings: Any
    ) -> None:
        super().__init__(projector_widths=projector_widths, **settings)
        if not projector_widths:
            raise ValueError("BYOL needs a projector: projector_widths is empty")
        self.predictor = projector(self.projection_width, (*predictor_widths, self.projection_width))
        self.teacher = self.build_teacher("backbone", "projector")
        self.loss = BYOLLoss()

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """batch["views"]: two (B, 3, H, W)."""
        views = self.two_views(batch)
        predictions = tuple(self.predictor(self(view)) for view in views)
        with torch.no_grad():
            targets = tuple(self.project_teacher(view) for view in views)
        return self.log_loss(self.loss(predictions, targets), len(views[0]))
