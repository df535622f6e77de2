"""Differences between two measurements of the same records, and p-values of many of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dejavu_lightning.core.estimate import OVER_SEEDS, Estimate
from dejavu_lightning.core.intervals import average, p_value, paired_gap

OVER_RECORDS = "Tango over paired records"
LEAST_RANGE = 2.0  # of a difference of two differences of answers that are right or wrong

RecordTerms = Mapping[str, float]  # id -> what the record adds to an estimate


def record_difference(first: Sequence[RecordTerms], second: Sequence[RecordTerms]) -> Estimate | None:
    """Compute the first estimate minus the second, its interval over the records that both were measured on.

    An estimate is the sum, over its samples, of the mean of what the records add; what a record adds to both cancels,
    so that the interval can be much narrower than that of two independent samples.

    Args:
        first, second: of each sample, such as attacked and held-out records, what its records add.

    Returns:
        None where the two were measured on other records, or it was not kept what they add.
    """
    if not first or [set(sample) for sample in first] != [set(sample) for sample in second]:
        return None
    parts = []
    for one, other in zip(first, second, strict=True):
        changes = np.array([value - other[identifier] for identifier, value in one.items()])
        reach = max(LEAST_RANGE, float(np.abs(changes).max()))
        parts.append(paired_gap(changes / reach).scaled(reach))
    return average(parts).scaled(len(parts))._replace(kind=OVER_RECORDS)


def difference_p_value(difference: Estimate) -> float | None:
    """Two-sided p-value of "there is no difference", below .05 just where the interval leaves out 0."""
    value, low, high = difference[:3]
    if low is None or high is None:
        return None
    if difference.kind == OVER_SEEDS:
        from scipy.stats import t

        freedom = difference.runs - 1
        error = (high - value) / float(t.ppf(0.975, freedom))
        return float(2 * t.sf(abs(value) / error, freedom))
    upwards = difference if value >= 0 else Estimate(-value, -high, -low)
    one_sided = p_value(upwards)
    return None if one_sided is None else min(1.0, 2 * one_sided)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for being many (Holm 1979, Scandinavian Journal of Statistics 6, 65).

    The smallest of m is multiplied by m, the next by m - 1, and so on, and none is smaller than the one before it.
    Calling those below .05 real is wrong about any of them in at most 5% of tables. Where there is none, there is none.
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (value, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * value))
        adjusted[place] = least
    return adjusted
