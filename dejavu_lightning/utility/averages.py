"""Average over the samples of all processes, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.core.distributed import gathered
from dejavu_lightning.core.estimate import Estimate, share
from dejavu_lightning.memorization.statistics import KIND, Floats, bootstrap, interval

# Another one than that of memorization: equal draws would tie the two kinds of samples to each other.
SEED = 1


class Average(NamedTuple):
    """A mean over samples with its 95% interval, and the bootstrap replicates (R,) behind it.

    Means over the same samples have replicates of the same resamples, so that replicates of two measurements
    may be subtracted: the difference is paired.
    """

    estimate: Estimate
    replicates: Floats


def averages(rows: Tensor, hits: Mapping[str, Tensor], trials: int = 1) -> dict[str, Average]:
    """Compute the share of hits among all trials, over all processes, each of which has its own samples.

    Samples are resampled whole. Where all trials have the same outcome, every resample has it too and the
    bootstrap says nothing; there the ends are the exact ones of so many samples (Clopper and Pearson 1934).

    Args:
        rows: (n,) positions in the dataset; they make the draws the same for any number of processes.
        hits: by name, (n,) booleans, or how many of a sample's trials were hits.
        trials: of each sample.

    Raises:
        ValueError: no process has a sample.
    """
    own = torch.stack([found.cpu().double() for found in hits.values()], dim=1)  # n, V
    shares = gathered((rows.cpu(), own))
    order = torch.cat([its_rows for its_rows, _ in shares]).argsort()
    values = torch.cat([found for _, found in shares])[order].numpy()  # N, V
    count = len(values)
    if count == 0:
        raise ValueError(f"{', '.join(hits)} cannot be measured: no sample has what it needs")
    # Whole numbers add up to the same sum in any order; the division comes last.
    replicates = bootstrap(lambda drawn, _: drawn @ values / (count * trials), count, seed=SEED)
    return {
        name: Average(_estimate(value, count, replicates[:, column]), replicates[:, column])
        for column, name in enumerate(hits)
        for value in [float(values[:, column].sum() / (count * trials))]
    }


def _estimate(value: float, count: int, replicates: Floats) -> Estimate:
    if value in (0, 1):
        return share(round(value * count), count, "exact")
    return Estimate(value, *interval(replicates), kind=KIND)
