"""How sure a population number is: bootstrap over records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import LEVEL, Estimate

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

RESAMPLES = 1000
KIND = "bootstrap over records"
CELLS_AT_ONCE = 1 << 23


class Interval(NamedTuple):
    """Ends of a 95% interval."""

    low: float
    high: float


def interval(replicates: Floats) -> Interval:
    """Percentile interval of bootstrap replicates (R,)."""
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def with_intervals(values: Mapping[str, float], replicates: Mapping[str, Floats]) -> dict[str, Estimate]:
    """Give each value the percentile interval of its bootstrap replicates, where it has some."""
    return {
        name: Estimate(value, *interval(replicates[name]), kind=KIND) if name in replicates else Estimate(value)
        for name, value in values.items()
    }


def bootstrap(
    statistic: Callable[[Counts, Counts], Floats], records: int, others: int | None = None, seed: int = 0
) -> Floats:
    """Replicates of a statistic of resampled records.

    Args:
        statistic: maps how often each record is drawn, when as many are drawn with replacement, to its
            value: blocks (r, records) and (r, others) -> (r, ...).
        records: size of the first sample.
        others: size of the second sample, drawn independently; None resamples both together, because they
            are the same records.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    step = max(1, CELLS_AT_ONCE // max(records, others or 0))
    blocks = []
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        counts = _draw(rng, rows, records)
        blocks.append(statistic(counts, counts if others is None else _draw(rng, rows, others)))
    return np.concatenate(blocks)


def _draw(rng: np.random.Generator, rows: int, records: int) -> Counts:
    drawn = rng.integers(0, records, (rows, records)) + np.arange(rows)[:, None] * records
    return np.bincount(drawn.ravel(), minlength=rows * records).reshape(rows, records)


def mean_of_first(values: Floats, order: NDArray[np.int64], counts: Counts, keep: int) -> Floats:
    """Mean of values (N,) over the first ``keep`` drawn records in ``order``: counts (r, N) -> (r,)."""
    if keep == len(order):  # as many as are drawn
        return np.asarray(counts @ values / keep, dtype=np.float64)
    drawn = counts[:, order]
    before = np.cumsum(drawn, axis=1) - drawn
    used = np.clip(keep - before, 0, drawn)
    return np.asarray(used @ values[order] / keep, dtype=np.float64)


def subsample_spread(
    statistic: Callable[[NDArray[np.int64]], float], records: int, seed: int, times: int = 100
) -> tuple[float, float]:
    """Mean and standard deviation of a statistic over random halves of the records.

    The spread that Jayaraman et al. (2024, arXiv 2402.02103) report, over 100 subsamples.
    """
    rng = np.random.default_rng(seed)
    half = max(1, records // 2)
    values = [statistic(np.sort(rng.permutation(records)[:half])) for _ in range(times)]
    return float(np.mean(values)), float(np.std(values))
