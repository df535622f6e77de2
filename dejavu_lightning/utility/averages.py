"""Average over the samples of all processes, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.core.distributed import joined_rows
from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import Floats, bounded_mean


class Average(NamedTuple):
    """A mean over samples with its 95% interval.

    Attributes:
        estimate: the mean, in [0, 1].
        rows: (N,) positions of the samples behind it.
        values: (N,) what each of them adds, in [0, 1].

    Example:
        >>> from torch import tensor
        >>> found = averages(tensor([1, 0]), {"knn_top1": tensor([True, False])})["knn_top1"]
        >>> found.estimate.value, found.rows, found.values.tolist()
        (0.5, [0, 1], [0.0, 1.0])
    """

    estimate: Estimate
    rows: list[int]
    values: Floats


def averages(rows: Tensor, hits: Mapping[str, Tensor], trials: int = 1) -> dict[str, Average]:
    """Compute the share of hits among all trials, over all processes, each of which has its own samples.

    A sample counts whole, with all its trials: the interval is over samples.

    Args:
        rows: (n,) positions in the dataset; they make the order the same for any number of processes.
        hits: by name, (n,) booleans, or how many of a sample's trials were hits.
        trials: of each sample.

    Raises:
        ValueError: no process has a sample.
    """
    own = torch.stack([found.cpu().double() for found in hits.values()], dim=1)  # n, V
    every = joined_rows(rows.cpu())
    order = every.argsort()
    values = joined_rows(own)[order].numpy() / trials  # N, V
    if len(values) == 0:
        raise ValueError(f"{', '.join(hits)} cannot be measured: no sample has what it needs")
    samples = every[order].tolist()
    return {
        name: Average(bounded_mean(values[:, column]), samples, values[:, column]) for column, name in enumerate(hits)
    }
