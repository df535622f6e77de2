"""How sure a mean over seeds is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

SEEDS_FOR_SPREAD = 3


class Estimate(NamedTuple):
    """A mean over seeds with its 95% interval.

    ``of`` says what the interval is about. "seeds": Student's t of the seeds' values, three or more; it covers all
    that a seed decides. "records": of one seed, the run's own bootstrap interval; of two, whose spread says next to
    nothing, both runs' intervals taken as independent. It leaves out how training varies.
    """

    mean: float
    low: float | None
    high: float | None
    of: str


def estimate(values: Sequence[float], intervals: Sequence[tuple[float, float]] | None = None) -> Estimate:
    """The mean of one value a seed.

    Args:
        values: at least one.
        intervals: each value's own interval, where it has one.
    """
    mean, count = fmean(values), len(values)
    if count >= SEEDS_FOR_SPREAD:
        reach = student_t(count - 1) * stdev(values) / math.sqrt(count)
        return Estimate(mean, mean - reach, mean + reach, "seeds")
    if intervals is None:
        return Estimate(mean, None, None, "")
    below = math.hypot(*(value - low for value, (low, _) in zip(values, intervals, strict=True))) / count
    above = math.hypot(*(high - value for value, (_, high) in zip(values, intervals, strict=True))) / count
    return Estimate(mean, mean - below, mean + above, "records")


def student_t(freedom: int) -> float:
    """The t that Student's distribution stays within, in both directions, with probability 0.95."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| < t), as Abramowitz and Stegun (1964) give it for whole degrees of freedom: 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    odd = freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for step in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (step - 1) / step * math.cos(angle) ** 2
    summed = math.sin(angle) * total
    return 2 / math.pi * (angle + summed) if odd else summed
