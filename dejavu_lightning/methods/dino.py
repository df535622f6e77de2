"""DINO (Caron et al. 2021, arXiv 2104.14294): from every view, predict the teacher's scores of the large ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dejavu_lightning.losses.dino_loss import DINOLoss
from dejavu_lightning.methods.momentum import MomentumMethod
from dejavu_lightning.models.heads import Normalize, Prototypes, bottleneck_mlp


class DINO(MomentumMethod):
    """Train with DINO's loss on batches of large ``views``, then small ones.

    Caron et al. (2021, arXiv 2104.14294); see :func:`~dejavu_lightning.losses.dino_loss.dino_loss`. The student sees
    all views, the teacher the large ones: those as large as the first. The projector ends in the bottleneck, whose
    directions, not the scores of the prototypes, are the embedding that the memorization tests see.

    Args:
        prototypes: K, the scores that are compared.
        student_temperature: divides the student's scores.
        teacher_temperature: (first, last); rises linearly over ``teacher_warmup_epochs``, epoch by epoch.
        teacher_warmup_epochs: epochs of that rise.
        center_momentum: of the centre that is subtracted from the teacher's scores.
        freeze_prototypes_epochs: epochs in which the prototypes stay as they are.
        projector_widths: of the projector's layers; the last one is the bottleneck.
        projector_norm: batch norm in the projector, for convolutional backbones.
        settings: more arguments of :class:`~dejavu_lightning.methods.momentum.MomentumMethod`.

    Raises:
        ValueError: there is no projector.

    Example:
        >>> import torch
        >>> model = DINO(prototypes=32, backbone="small_resnet", projector_widths=(64, 16), image_size=32)
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        prototypes: int = 65536,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        teacher_warmup_epochs: int = 30,
        center_momentum: float = 0.9,
        freeze_prototypes_epochs: int = 1,
        projector_widths: Sequence[int] = (2048, 2048, 256),
        projector_norm: bool = False,
        **settings: Any,
    ) -> None:
        if not projector_widths:
            raise ValueError("DINO needs a projector: projector_widths is empty")
        self.projector_norm = projector_norm
        super().__init__(projector_widths=projector_widths, **settings)
        if not isinstance(self.projector[-1], Normalize):
            raise ValueError(
                "DINO's projector ends in directions of length 1, that of model.init does not: set normalize=True of "
                "the init, as for DINO's own checkpoints, or leave its projector_prefix out"
            )
        self.prototypes = Prototypes(self.projection_width, prototypes)
        self.teacher = self.build_teacher("backbone", "projector", "prototypes")
        self.teacher_temperature, self.teacher_warmup_epochs = teacher_temperature, teacher_warmup_epochs
        self.freeze_prototypes_epochs = freeze_prototypes_epochs
        self.loss = DINOLoss(prototypes, student_temperature, center_momentum)

    def build_projector(self, width_in: int, widths: Sequence[int]) -> nn.Sequential:
        """Build GELU layers whose last output has length 1."""
        return bottleneck_mlp(width_in, widths, self.projector_norm)

    def on_fit_start(self) -> None:
        """Refuse a warm-up that never ends."""
        super().on_fit_start()
        epochs = self.trainer.max_epochs
        if epochs is not None and 0 <= epochs < self.teacher_warmup_epochs:
            raise ValueError(
                f"teacher_warmup_epochs={self.teacher_warmup_epochs} is longer than the training of {epochs} epochs"
            )

    def current_teacher_temperature(self) -> float:
        """Compute tau_t of this epoch."""
        first, last = self.teacher_temperature
        rise = min(self.current_epoch / max(self.teacher_warmup_epochs - 1, 1), 1.0)
        return first + (last - first) * rise if self.teacher_warmup_epochs else last

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """batch["views"]: (B, 3, H, W) each, the large ones first."""
        views = batch["views"]
        large, *smaller = same_size(views)
        if any(group[0].shape[-1] >= large[0].shape[-1] for group in smaller):
            sides = [view.shape[-1] for view in views]
            raise ValueError(f"DINO takes its large views first, then smaller ones; data.views gives sides {sides}")
        with torch.no_grad():
            teacher = self.teacher["prototypes"](self.project_teacher(torch.cat(large)))
        features = torch.cat([self.features(torch.cat(group)) for group in same_size(views)])
        student = self.prototypes(self.projector(features))
        scores = student.unflatten(0, (len(views), -1))  # S, B, K
        loss = self.loss(scores, teacher.unflatten(0, (len(large), -1)), self.current_teacher_temperature())
        return self.log_loss(loss, len(views[0]))

    def on_after_backward(self) -> None:
        """Hold the prototypes still in the first epochs: moving them is how a collapse begins."""
        if self.current_epoch < self.freeze_prototypes_epochs:
            self.prototypes.weight.grad = None


def same_size(views: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group neighbouring views of one shape, so that each size is one forward pass."""
    groups: list[list[Tensor]] = []
    for view in views:
        if groups and groups[-1][0].shape == view.shape:
            groups[-1].append(view)
        else:
            groups.append([view])
    return groups
