"""The supervised baseline: the labels are given, the crops are those of the self-supervised methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dejavu_lightning.losses.supervised_loss import supervised_loss
from dejavu_lightning.methods.base import SelfSupervisedMethod


class Supervised(SelfSupervisedMethod):
    """Train with cross-entropy on labels on every view of a batch: the supervised baseline.

    Meehan et al. (2023, arXiv 2304.13850) compare with it; see
    :func:`~dejavu_lightning.losses.supervised_loss.supervised_loss`.

    Args:
        num_classes: labels lie in [0, num_classes).
        projector_widths: layers between the features and the classifier; none, as usual, makes the
            projector's output the features.
        settings: more arguments of :class:`~dejavu_lightning.methods.base.SelfSupervisedMethod`.

    Example:
        >>> import torch
        >>> model = Supervised(num_classes=10, backbone="small_resnet", image_size=32)
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape, model.logits(torch.zeros(2, 3, 32, 32)).shape
        (torch.Size([2, 128]), torch.Size([2, 10]))
    """

    def __init__(self, num_classes: int = 1000, projector_widths: Sequence[int] = (), **settings: Any) -> None:
        super().__init__(projector_widths=projector_widths, **settings)
        self.num_classes = num_classes
        self.classifier = nn.Linear(self.projection_width, num_classes)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """batch["views"]: any number of (B, 3, H, W); batch["label"] (B,)."""
        labels = batch["label"]
        if self.global_step == 0 and int(labels.max()) >= self.num_classes:
            raise ValueError(f"label {int(labels.max())} is beyond model.num_classes={self.num_classes}")
        losses = [supervised_loss(self.logits(view), labels) for view in batch["views"]]
        return self.log_loss(torch.stack(losses).mean(), len(labels))

    def logits(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> (B, num_classes)."""
        logits: Tensor = self.classifier(self(images))
        return logits
