"""Values with 95% intervals: of one run over its records, of several over their seeds, of shares of few records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import NamedTuple

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
        half = student_t(count - 1) * stdev(values) / math.sqrt(count)
        return Estimate(mean, mean - half, mean + half, count, "Student's t over seeds")
    below = [value - low for value, low, *_ in estimates if low is not None]
    above = [high - value for value, _, high, *_ in estimates if high is not None]
    if len(below) < count:
        return Estimate(mean, runs=count)
    return Estimate(mean, mean - math.hypot(*below) / count, mean + math.hypot(*above) / count, count)


def student_t(degrees: int) -> float:
    """The t that |T| stays below with probability 0.95, at ``degrees`` of freedom, at least 1."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _inside(angle, degrees) < LEVEL else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _inside(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) tan(angle)), a finite sum (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(degrees // 2):
        total += term
        numerator = 2 * step + 1 + odd
        term *= cosine**2 * numerator / (numerator + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def share(part: int, whole: int) -> Estimate:
    """A share of ``whole`` records, at least 1, with Wilson's interval, which holds for few records too."""
    z, observed = 1.959964, part / whole
    scale = 1 + z**2 / whole
    middle = (observed + z**2 / (2 * whole)) / scale
    half = z / scale * math.sqrt(observed * (1 - observed) / whole + z**2 / (4 * whole**2))
    return Estimate(observed, max(0.0, middle - half), min(1.0, middle + half))
