"""Values with 95% intervals: of one run over its records, of several over their seeds, of shares of few records.

scipy.stats is imported where it is used: it takes longer than listing or reading a study.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import stdev
from typing import Literal, NamedTuple

LEVEL = 0.95
SEEDS_FOR_SPREAD = 3


class Estimate(NamedTuple):
    """A value with the ends of its 95% interval where it has one.

    ``runs`` how many runs it is the mean of; ``kind`` what the interval is over, such as "bootstrap over records".
    """

    value: float
    low: float | None = None
    high: float | None = None
    runs: int = 1
    kind: str = ""


def flatten(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Name every number as logs do: each value ``<name>``, its interval ``<name>_low`` and ``<name>_high``."""
    values = {name: estimate.value for name, estimate in estimates.items()}
    for name, (_, low, high, *_) in estimates.items():
        if low is not None and high is not None:
            values |= {f"{name}_low": low, f"{name}_high": high}
    return values


def estimates_in(row: Mapping[str, float]) -> dict[str, Estimate]:
    """Read what :func:`flatten` wrote, such as a row of ``history.csv``."""
    ends = {f"{name}{end}" for name in row for end in ("_low", "_high")} & set(row)
    return {
        name: Estimate(value, row.get(f"{name}_low"), row.get(f"{name}_high"))
        for name, value in row.items()
        if name not in ends
    }


def over_runs(estimates: Sequence[Estimate]) -> Estimate:
    """Of one run its own; of several, runs of one seed each, their mean.

    Three or more have Student's t interval of their values, which covers all that a seed decides. Of two the spread
    says next to nothing: both runs' own intervals are taken as independent, which leaves out how training varies.
    """
    if len(estimates) == 1:
        return estimates[0]
    values = [estimate.value for estimate in estimates]
    count, mean = len(values), math.fsum(values) / len(values)
    if count >= SEEDS_FOR_SPREAD:
        from scipy.stats import t

        half = float(t.ppf((1 + LEVEL) / 2, count - 1)) * stdev(values) / math.sqrt(count)
        return Estimate(mean, mean - half, mean + half, count, "Student's t over seeds")
    below = [value - low for value, low, *_ in estimates if low is not None]
    above = [high - value for value, _, high, *_ in estimates if high is not None]
    if len(below) < count:
        return Estimate(mean, runs=count)
    return Estimate(mean, mean - math.hypot(*below) / count, mean + math.hypot(*above) / count, count)


@cache  # a millisecond each, and the classes of a report share few different counts
def share(part: int, whole: int, method: Literal["wilson", "exact"] = "wilson") -> Estimate:
    """A share of ``whole`` records, at least 1, with its interval.

    Args:
        part: how many of the records, in [0, whole].
        whole: how many there are.
        method: "wilson" (Wilson 1927) covers the true share in 95% of samples on average; "exact" (Clopper and Pearson
            1934) covers it in at least 95%, and is wider.
    """
    if not 0 <= part <= whole or whole < 1:
        raise ValueError(f"part must lie in [0, whole] and whole be at least 1, got {part} of {whole}")
    from scipy.stats import binomtest

    interval = binomtest(part, whole).proportion_ci(LEVEL, method)
    kind = {"wilson": "Wilson over records", "exact": "Clopper-Pearson over records"}[method]
    return Estimate(part / whole, float(interval.low), float(interval.high), kind=kind)
