"""The déjà vu score as a torchmetrics metric."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from dejavu_lightning.metrics.functional import check_any, check_fraction, check_paired, dejavu_score


class DejaVuScore(Metric):
    """Target accuracy minus reference accuracy, each on the records that its model is most confident of.

    Meehan et al. (2023, arXiv 2304.13850, section 4): score@p = acc(T_p) - acc(R_p), where T_p and R_p are the
    max(1, floor(p N)) records of highest target and reference confidence, over all updates and processes.

    ``update(target_correct, reference_correct, target_confidence, reference_confidence)`` takes (n,) each, a value a
    record, n may be 0; ``compute()`` gives a 0-dim float64 in [-1, 1], higher is more memorization.

    Records equally confident at the cut count by their mean, so that the order of updates and ranks changes nothing.

    Args:
        fraction: p in (0, 1]; 1 scores all records.
        kwargs: of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: fraction is not in (0, 1], shapes differ, or there is no record to compute from.

    Example:
        >>> from torch import tensor
        >>> score = DejaVuScore(fraction=0.5)
        >>> score.update(
        ...     target_correct=tensor([True, False, True, False]),
        ...     reference_correct=tensor([False, False, True, True]),
        ...     target_confidence=tensor([-0.1, -0.9, -0.2, -0.8]),
        ...     reference_confidence=tensor([-0.1, -0.9, -0.2, -0.8]),
        ... )
        >>> score.compute()  # of the two surest records the target has both right, the reference one
        tensor(0.5000, dtype=torch.float64)
    """

    is_differentiable: bool = False
    higher_is_better: bool = False
    full_state_update: bool = False

    target_correct: list[Tensor]
    reference_correct: list[Tensor]
    target_confidence: list[Tensor]
    reference_confidence: list[Tensor]

    def __init__(self, fraction: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_fraction(fraction)
        self.fraction = fraction
        for role in ("target", "reference"):
            for state in ("correct", "confidence"):
                self.add_state(f"{role}_{state}", default=[], dist_reduce_fx="cat")
        # All states are float64: a rank without records joins with an empty tensor of the metric's own type.
        self.set_dtype(torch.float64)

    def update(
        self,
        target_correct: Tensor,
        reference_correct: Tensor,
        target_confidence: Tensor,
        reference_confidence: Tensor,
    ) -> None:
        """Add records: (n,) each, of the same records in the same order."""
        added = {
            "target_correct": target_correct,
            "reference_correct": reference_correct,
            "target_confidence": target_confidence,
            "reference_confidence": reference_confidence,
        }
        check_paired(**added)
        for state, values in added.items():
            getattr(self, state).append(values.double())

    def compute(self) -> Tensor:
        """The score of all records so far."""
        check_any(len(self.target_correct))  # of one process a list of updates, of several their records
        return dejavu_score(
            dim_zero_cat(self.target_correct),
            dim_zero_cat(self.reference_correct),
            dim_zero_cat(self.target_confidence),
            dim_zero_cat(self.reference_confidence),
            self.fraction,
        )
