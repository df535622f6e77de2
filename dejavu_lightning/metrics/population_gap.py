"""What a target retrieves beyond a reference, over a population of records, as torchmetrics metrics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dejavu_lightning.metrics.functional import check_any, check_paired


class PopulationGap(Metric):
    """Share of records on which the target does better, minus the share on which the reference does.

    Of precisions the population precision gap, of recalls the population recall gap (Jayaraman et al. 2024, arXiv
    2402.02103, section 3.2): PPG = P(prec_T > prec_R) - P(prec_T < prec_R), PRG = P(rec_T > rec_R) - P(rec_T < rec_R).

    ``update(target, reference)`` takes (n,) values of both models on the same records, n may be 0; ``compute()`` gives
    a 0-dim float64 in [-1, 1], higher is more memorization.

    Args:
        kwargs: of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: shapes differ, or there is no record to compute from.

    Example:
        >>> from torch import tensor
        >>> gap = PopulationGap()
        >>> gap.update(target=tensor([0.5, 0.2, 0.7, 1.0]), reference=tensor([0.1, 0.4, 0.7, 0.0]))
        >>> gap.compute()  # better on two of four, worse on one
        tensor(0.2500, dtype=torch.float64)
    """

    is_differentiable: bool = False
    higher_is_better: bool = False
    full_state_update: bool = False

    lead: Tensor
    records: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("lead", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("records", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, target: Tensor, reference: Tensor) -> None:
        """Add records: (n,) each, of the same records in the same order."""
        check_paired(target=target, reference=reference)
        self.lead += torch.sign(target.double() - reference.double()).sum().long()
        self.records += len(target)

    def compute(self) -> Tensor:
        """The gap of all records so far."""
        check_any(int(self.records))
        return self.lead.double() / self.records


class AUCGap(Metric):
    """AUCG: the area between the curves P(recall >= t), t in [0, 1], of target and reference.

    The area under such a curve is the mean recall, so AUCG = mean(rec_T) - mean(rec_R), exactly, without the histogram
    of Jayaraman et al. (2024, arXiv 2402.02103, section 3.2).

    ``update(target_recall, reference_recall)`` takes (n,) recalls in [0, 1] of the same records, n may be 0;
    ``compute()`` gives a 0-dim float64 in [-1, 1], higher is more memorization. Another order of the records, or
    another number of processes, changes it by rounding only.

    Args:
        kwargs: of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: shapes differ, or there is no record to compute from.

    Example:
        >>> from torch import tensor
        >>> gap = AUCGap()
        >>> gap.update(target_recall=tensor([0.5, 0.25]), reference_recall=tensor([0.25, 0.0]))
        >>> gap.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    is_differentiable: bool = False
    higher_is_better: bool = False
    full_state_update: bool = False

    recall_difference: Tensor
    records: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("recall_difference", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("records", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, target_recall: Tensor, reference_recall: Tensor) -> None:
        """Add records: (n,) each, of the same records in the same order."""
        check_paired(target_recall=target_recall, reference_recall=reference_recall)
        self.recall_difference += (target_recall.double() - reference_recall.double()).sum()
        self.records += len(target_recall)

    def compute(self) -> Tensor:
        """The gap of all records so far."""
        check_any(int(self.records))
        return self.recall_difference / self.records
