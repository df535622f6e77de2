"""Averages over the samples of all processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import MeanMetric


def averages(hits: Mapping[str, Tensor]) -> dict[str, float]:
    """Share of hits among each (n,) of booleans over all processes, each of which has its own samples.

    Raises:
        ValueError: no process has any.
    """
    found: dict[str, float] = {}
    for name, own in hits.items():
        metric = MeanMetric(nan_strategy="disable").set_dtype(torch.float64).to(own.device)
        metric.update(own.double())
        total = metric.compute()
        if not torch.isfinite(total):
            raise ValueError(f"{name} cannot be measured: no sample has what it needs")
        found[name] = float(total)
    return found
