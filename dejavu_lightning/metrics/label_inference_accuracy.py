"""How often background crops give their label away, as a torchmetrics metric."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dejavu_lightning.metrics.functional import check_any, check_labels, label_votes, rank_labels


class LabelInferenceAccuracy(Metric):
    """Share of records whose true label is among the ``top_k`` classes that their neighbours vote for.

    The label inference test of Meehan et al. (2023, arXiv 2304.13850, section 4): the K public images nearest to a
    background crop vote, unweighted. Of equal votes the class of the closest voter comes first, then the lower class;
    a class without votes is never predicted.

    ``update(neighbor_labels, labels)`` takes (n, K) and (n,) integers in [0, num_classes), neighbours nearest first,
    n may be 0; ``compute()`` gives a 0-dim float64 in [0, 1]. It is a sign of memorization only as far as it exceeds
    the accuracy of a reference.

    Args:
        num_classes: C.
        top_k: classes that are predicted of each record, in [1, C].
        kwargs: of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: top_k is not in [1, C], shapes do not fit, a label is not in [0, C), or there is no record to
            compute from.

    Example:
        >>> from torch import tensor
        >>> accuracy = LabelInferenceAccuracy(num_classes=3)
        >>> accuracy.update(neighbor_labels=tensor([[0, 2, 2], [1, 0, 2]]), labels=tensor([2, 0]))
        >>> accuracy.compute()  # votes for 2, which is right, and a tie that goes to the closest: 1
        tensor(0.5000, dtype=torch.float64)
    """

    is_differentiable: bool = False
    higher_is_better: None = None
    full_state_update: bool = False

    found_at: Tensor
    records: Tensor

    def __init__(self, num_classes: int, top_k: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 1 <= top_k <= num_classes:
            raise ValueError(f"top_k must lie in [1, {num_classes}], the number of classes; got {top_k}")
        self.num_classes, self.top_k = num_classes, top_k
        # Records by the place of their label. A collection joins metrics whose states are equal after the first update:
        # one count would be, of different top_k, as soon as all first labels are found at once.
        self.add_state("found_at", default=torch.zeros(top_k, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("records", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, neighbor_labels: Tensor, labels: Tensor) -> None:
        """Add records: the labels (n, K) of their neighbours, and their own (n,)."""
        if labels.shape != neighbor_labels.shape[:1]:
            raise ValueError(
                "neighbor_labels and labels must have shapes (N, K) and (N,), got "
                f"{tuple(neighbor_labels.shape)} and {tuple(labels.shape)}"
            )
        check_labels("labels", labels, self.num_classes)
        votes = label_votes(neighbor_labels, self.num_classes)  # n, C
        ranked = rank_labels(votes, neighbor_labels, self.top_k)  # n, top_k
        self.found_at += (ranked == labels[:, None]).sum(dim=0)
        self.records += len(labels)

    def compute(self) -> Tensor:
        """The accuracy on all records so far."""
        check_any(int(self.records))
        return self.found_at.sum().double() / self.records
