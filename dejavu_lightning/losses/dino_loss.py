"""DINO: self-distillation between views of different size.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.14294.
Equations are numbered as there; author code:
https://github.com/facebookresearch/dino/blob/7c446df5b9f45747937fb0d72314eb9f7b66930a/main_dino.py

    H(P_t(x), P_s(x')) summed over teacher views x and student views x' != x        (3)
    P_t = softmax((g_t - c) / tau_t),  P_s = softmax(g_s / tau_s)                    (1)
    c <- m c + (1 - m) mean of g_t over the batch                                    (4)

As in the author code: (3) is averaged over pairs, and c is updated after the loss was computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dejavu_lightning.core.distributed import gather_batch, mean_over_ranks
from dejavu_lightning.losses.precision import full_precision


@full_precision
def dino_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    center: Tensor | None = None,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.07,
) -> Tensor:
    """Compute the cross-entropy of the student to the teacher over all pairs of different views.

    Equations (1) and (3) of Caron et al. (2021, arXiv 2104.14294).

    Args:
        student: (S, B, K) scores of S views.
        teacher: (T, B, K) scores of the first T of these views, T <= S; no gradient flows into them.
        center: (K,) subtracted from the teacher's scores; none if not given.
        student_temperature, teacher_temperature: tau_s and tau_t, divide the scores; positive.

    Returns:
        0-dim loss in nats, 0 or more, averaged over pairs and the global batch, the same on every rank.

    Raises:
        ValueError: shapes do not fit, a temperature is not positive, or no pair of different views exists.

    Example:
        >>> from torch import zeros
        >>> round(float(dino_loss(zeros(3, 4, 8), zeros(2, 4, 8))), 4)  # all prototypes alike: log 8
        2.0794
    """
    if student.ndim != 3 or student.shape[1:] != teacher.shape[1:] or len(teacher) > len(student):
        raise ValueError(
            "student (S, B, K) and teacher (T, B, K), T <= S, must agree in B and K, got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if min(student_temperature, teacher_temperature) <= 0:
        raise ValueError(f"temperatures must be positive, got {student_temperature} and {teacher_temperature}")
    pairs = len(student) * len(teacher) - len(teacher)
    if pairs == 0:
        raise ValueError("DINO compares different views: at least 2 views are needed, got 1")
    centred = teacher.detach() if center is None else teacher.detach() - center
    target = torch.softmax(centred / teacher_temperature, dim=2)  # T, B, K
    log_share = torch.log_softmax(student / student_temperature, dim=2)  # S, B, K
    entropy = -torch.einsum("tbk,sbk->bts", target, log_share)
    same_view = torch.eye(len(teacher), len(student), dtype=torch.bool, device=student.device)
    per_sample = entropy.masked_fill(same_view, 0).sum(dim=(1, 2)) / pairs  # B
    return gather_batch(per_sample).mean()


class DINOLoss(nn.Module):
    """DINO loss with a centre that follows the teacher's scores over the batch and all ranks, see :func:`dino_loss`.

    Args:
        prototypes: K.
        student_temperature: tau_s.
        center_momentum: m of equation (4).

    Example:
        >>> from torch import ones, zeros
        >>> loss = DINOLoss(prototypes=2)
        >>> round(float(loss(zeros(2, 4, 2), ones(2, 4, 2), teacher_temperature=0.04)), 4)
        0.6931
        >>> loss.center  # a tenth of the way to the teacher's scores
        tensor([0.1000, 0.1000])
    """

    center: Tensor

    def __init__(self, prototypes: int, student_temperature: float = 0.1, center_momentum: float = 0.9) -> None:
        super().__init__()
        self.student_temperature, self.center_momentum = student_temperature, center_momentum
        self.register_buffer("center", torch.zeros(prototypes))

    def forward(self, student: Tensor, teacher: Tensor, teacher_temperature: float) -> Tensor:
        """student (S, B, K), teacher (T, B, K) -> 0-dim; then moves the centre."""
        loss = dino_loss(
            student,
            teacher,
            center=self.center,
            student_temperature=self.student_temperature,
            teacher_temperature=teacher_temperature,
        )
        with torch.no_grad():
            batch_center = mean_over_ranks(teacher.detach().to(self.center.dtype).mean(dim=(0, 1)))
            self.center.lerp_(batch_center, 1 - self.center_momentum)
        return loss
