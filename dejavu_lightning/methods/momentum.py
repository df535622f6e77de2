"""The base class of BYOL and DINO: a teacher whose weights follow the student's."""

from __future__ import annotations

import copy
import math
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dejavu_lightning.methods.base import SelfSupervisedMethod
from dejavu_lightning.methods.initial import keep_frozen, set_trainable
from dejavu_lightning.models.heads import projector_layers


class MomentumMethod(SelfSupervisedMethod):
    """A student that is trained, and a ``teacher`` that is the moving average of its weights.

    After every optimiser step ``teacher <- m teacher + (1 - m) student``; m rises along a cosine from
    ``momentum`` to 1 over the training. Batch-norm statistics are the teacher's own. Measurements see the
    student; ``encode="encode_teacher"`` shows them the teacher.

    Args:
        momentum: m at the start, in [0, 1].
        settings: arguments of :class:`~dejavu_lightning.methods.base.SelfSupervisedMethod`.

    Raises:
        ValueError: ``momentum`` is not in [0, 1].

    Example:
        >>> import torch
        >>> model = MomentumMethod(backbone="small_resnet", projector_widths=(16,), image_size=32).eval()
        >>> model.teacher = model.build_teacher("backbone", "projector")
        >>> images = torch.ones(2, 3, 32, 32)
        >>> torch.equal(model.encode(images), model.encode_teacher(images))  # before the first step
        True
    """

    teacher: nn.ModuleDict

    def __init__(self, momentum: float = 0.996, **settings: Any) -> None:
        super().__init__(**settings)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self.momentum = momentum

    def on_fit_start(self) -> None:
        """Refuse weights of 16 bits: the small steps of the teacher would be rounded away."""
        if self.trainer.precision in ("bf16-true", "16-true"):
            raise ValueError(
                f"trainer.precision={self.trainer.precision!r} rounds the teacher's moving average away; use "
                f"{self.trainer.precision.replace('true', 'mixed')!r}"
            )

    def configure_model(self) -> None:
        """Freeze as every method does, and the same parts of the teacher."""
        super().configure_model()
        keep_frozen(self, [f"teacher.{name}" for name in self.frozen])

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that is trained; frozen parts of student and teacher stay in evaluation mode."""
        super().train(mode)
        keep_frozen(self, [f"teacher.{name}" for name in getattr(self, "frozen", ())])
        return self

    def build_teacher(self, *parts: str) -> nn.ModuleDict:
        """Copy the named parts of the student, without gradients."""
        with torch.no_grad():  # copies of TorchScript's parameters would be results of a computation
            copies = nn.ModuleDict({name: copy.deepcopy(getattr(self, name)) for name in parts})
        set_trainable(copies, False)
        return copies

    def current_momentum(self) -> float:
        """Compute m of this step: ``momentum`` at the first, 1 after the last."""
        progress = self.trainer.global_step / max(int(self.trainer.estimated_stepping_batches), 1)
        return 1 - (1 - self.momentum) * (math.cos(math.pi * min(progress, 1)) + 1) / 2

    def optimizer_step(self, *arguments: Any, **more: Any) -> None:
        """Step, then let the teacher follow."""
        momentum = self.current_momentum()
        super().optimizer_step(*arguments, **more)
        self.update_teacher(momentum)

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher's weights towards the student's."""
        for name, part in self.teacher.items():
            student: nn.Module = getattr(self, name)
            if weights := list(part.parameters()):  # a frozen program has none
                average = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]
                average(weights, list(student.parameters()), None)

    def project_teacher(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> the teacher's projector output (B, D)."""
        projected: Tensor = self.teacher["projector"](self.teacher_features(images))
        return projected

    def teacher_features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> the teacher's backbone features (B, F)."""
        if images.ndim == 2:
            return images
        features: Tensor = self.teacher["backbone"](images.contiguous(memory_format=self.memory_format))
        return features

    def encode_teacher(self, images: Tensor) -> Tensor:
        """Encode with the teacher, as ``encode`` does with the student: (B, D) or (B, F)."""
        if self.embedding == "projector":
            return self.project_teacher(images)
        projector = cast(nn.Sequential, self.teacher["projector"])
        return projector_layers(self.teacher_features(images), projector, self.embedding)[self.embedding]
