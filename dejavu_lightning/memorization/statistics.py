"""What single records add to a population number, and how it spreads over random halves of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import Floats, Z


class Terms(NamedTuple):
    """What the records of one sample add to an estimate, which is the sum of its samples' mean values.

    ``ids`` of the N records, in the order of ``values`` (N,). Of a statistic that is no mean of its records, the
    values are those of its linear approximation (its influence function), whose mean is the statistic.
    """

    ids: Sequence[str]
    values: Floats


def change(before: Sequence[Floats], after: Sequence[Floats]) -> Estimate:
    """By how much an estimate grew from one measurement to another of the same records.

    Args:
        before, after: what the records of each sample add, (N,) a sample, in the same order.

    Returns:
        The difference, with the normal interval of paired differences of independent samples.
    """
    grown = [now - then for then, now in zip(before, after, strict=True)]
    value = math.fsum(float(each.mean()) for each in grown)
    half = Z * math.hypot(*(float(each.std(ddof=1)) / math.sqrt(len(each)) for each in grown if len(each) > 1))
    return Estimate(value, value - half, value + half, kind="normal over paired records")


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
