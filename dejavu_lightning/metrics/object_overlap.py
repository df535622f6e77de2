"""How well retrieved objects match those in the pictures, as a torchmetrics metric."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dejavu_lightning.metrics.functional import Overlap, check_any, object_overlap


class ObjectOverlap(Metric):
    """Mean precision, recall and F of predicted sets of objects, over records.

    Jayaraman et al. (2024, arXiv 2402.02103, section 3): of a record with true objects G and predicted objects P,
    ``precision = |G and P| / |P|``, ``recall = |G and P| / |G|``, ``F = 2 |G and P| / (|P| + |G|)``. An empty
    prediction has precision 0. A record without a true object has no recall and is refused: leave it out, and say
    how many were.

    ``update(predicted, truth)`` takes (n, C) booleans, n may be 0; ``compute()`` gives ``precision``, ``recall`` and
    ``f_score``, 0-dim float64 in [0, 1]. They are a sign of memorization only as far as they exceed those of a
    reference. Another order of the records, or another number of processes, changes them by rounding only.

    Args:
        kwargs: of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: shapes differ, a record has no true object, or there is no record to compute from.

    Example:
        >>> from torch import tensor
        >>> overlap = ObjectOverlap()
        >>> overlap.update(predicted=tensor([[True, False, True, True]]), truth=tensor([[True, True, False, False]]))
        >>> {name: round(float(value), 3) for name, value in overlap.compute().items()}
        {'precision': 0.333, 'recall': 0.5, 'f_score': 0.4}
    """

    is_differentiable: bool = False
    higher_is_better: None = None
    full_state_update: bool = False

    overlap_sums: Tensor
    records: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sums = torch.zeros(len(Overlap._fields), dtype=torch.float64)
        self.add_state("overlap_sums", default=sums, dist_reduce_fx="sum")
        self.add_state("records", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, truth: Tensor) -> None:
        """Add records: the objects predicted of each, and those that are there, (n, C) each."""
        self.overlap_sums += torch.stack(object_overlap(predicted, truth)).sum(dim=1)
        self.records += len(truth)

    def compute(self) -> dict[str, Tensor]:
        """The means over all records so far."""
        check_any(int(self.records))
        return dict(zip(Overlap._fields, self.overlap_sums / self.records, strict=True))
