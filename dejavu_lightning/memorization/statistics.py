"""How sure a population number is: bootstrap over records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Resample = NDArray[np.int64]

RESAMPLES = 1000
LEVEL = 0.95
CELLS_AT_ONCE = 1 << 23


class Interval(NamedTuple):
    """Ends of a 95% interval."""

    low: float
    high: float


def interval(replicates: Floats) -> Interval:
    """Percentile interval of bootstrap replicates (R,)."""
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def resampled_counts(records: int, resamples: int, rng: np.random.Generator) -> Iterator[Resample]:
    """How often each record is drawn, when as many are drawn with replacement: blocks (r, records)."""
    step = max(1, CELLS_AT_ONCE // records)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, records, (rows, records)) + np.arange(rows)[:, None] * records
        yield np.bincount(drawn.ravel(), minlength=rows * records).reshape(rows, records)


def bootstrap(records: int, statistic: Callable[[Resample], Floats], seed: int, resamples: int = RESAMPLES) -> Floats:
    """Replicates of a statistic over resampled records.

    Args:
        records: how many there are.
        statistic: counts (r, records) -> (r, ...) values.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    return np.concatenate([statistic(counts) for counts in resampled_counts(records, resamples, rng)])


def mean_of_first(values: Floats, order: NDArray[np.int64], counts: Resample, keep: int) -> Floats:
    """Mean of values (N,) over the first ``keep`` drawn records in ``order``: counts (r, N) -> (r,)."""
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
