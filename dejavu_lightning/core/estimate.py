"""Values with 95% intervals, and how they are named in logs.

scipy.stats is imported where it is used: it takes longer than listing or reading a study.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import NamedTuple

LEVEL = 0.95
SEEDS_FOR_SPREAD = 3
OVER_SEEDS = "Student's t over seeds"


class Estimate(NamedTuple):
    """A value with the ends of its 95% interval where it has one.

    Attributes:
        value: in the unit of what is estimated.
        low, high: the ends of the interval.
        runs: how many runs it is the mean of.
        kind: what the interval is and what it is over, such as "Wilson over records".
        p_value: one-sided, of "nothing is memorized", where it was asked.

    Example:
        >>> Estimate(0.25, low=0.125, high=0.5).scaled(100)[:3]  # in percent
        (25.0, 12.5, 50.0)
    """

    value: float
    low: float | None = None
    high: float | None = None
    runs: int = 1
    kind: str = ""
    p_value: float | None = None

    def scaled(self, factor: float, shift: float = 0.0) -> Estimate:
        """Of ``factor * x + shift`` in place of x; the factor is not negative."""
        low, high = (None if end is None else factor * end + shift for end in (self.low, self.high))
        return self._replace(value=factor * self.value + shift, low=low, high=high)


def flatten(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Name every number as logs do: ``<name>``, its interval ``<name>_low`` and ``<name>_high``, ``<name>_p_value``.

    Args:
        estimates: by name.

    Example:
        >>> flatten({"score": Estimate(0.25, low=0.125, high=0.5)})
        {'score': 0.25, 'score_low': 0.125, 'score_high': 0.5}
    """
    values = {name: estimate.value for name, estimate in estimates.items()}
    for name, estimate in estimates.items():
        if estimate.low is not None and estimate.high is not None:
            values |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        if estimate.p_value is not None:
            values[f"{name}_p_value"] = estimate.p_value
    return values


def estimates_in(row: Mapping[str, float]) -> dict[str, Estimate]:
    """Read what :func:`flatten` wrote, such as a row of ``history.csv``.

    Args:
        row: numbers by name.

    Example:
        >>> estimates_in({"score": 0.25, "score_low": 0.125, "score_high": 0.5})["score"][:3]
        (0.25, 0.125, 0.5)
    """
    beside = {f"{name}{end}" for name in row for end in ("_low", "_high", "_p_value")} & set(row)
    return {
        name: Estimate(value, row.get(f"{name}_low"), row.get(f"{name}_high"), p_value=row.get(f"{name}_p_value"))
        for name, value in row.items()
        if name not in beside
    }


def net_parts(metric: str) -> tuple[str, str, str]:
    """Names that stand together, from any but the last: net value, gap of the attacked records, control."""
    gap = metric.removeprefix("net_")
    return f"net_{gap}", gap, f"control_{gap}"


def format_p(p_value: float) -> str:
    """A p-value of three decimals, or below which it is."""
    return "< .001" if p_value < 0.001 else f"{p_value:.3f}"


def over_runs(estimates: Sequence[Estimate]) -> Estimate:
    """Of one run its own; of several, runs of one seed each, their mean.

    Three or more have Student's t interval of their values, which covers all that a seed decides. Of two, and of
    values that are all the same, the spread says next to nothing: the runs' own intervals are taken as independent,
    which leaves out how training varies.
    """
    if len(estimates) == 1:
        return estimates[0]
    values = [estimate.value for estimate in estimates]
    count, mean = len(values), math.fsum(values) / len(values)
    asked = all(estimate.p_value is not None for estimate in estimates)
    if count >= SEEDS_FOR_SPREAD and len(set(values)) > 1:
        from scipy.stats import t

        error = stdev(values) / math.sqrt(count)
        half = float(t.ppf((1 + LEVEL) / 2, count - 1)) * error
        p_value = float(t.sf(mean / error, count - 1)) if asked else None
        return Estimate(mean, mean - half, mean + half, count, OVER_SEEDS, p_value)
    below = [value - low for value, low, *_ in estimates if low is not None]
    above = [high - value for value, _, high, *_ in estimates if high is not None]
    if len(below) < count:
        return Estimate(mean, runs=count)
    ends = mean - math.hypot(*below) / count, mean + math.hypot(*above) / count
    found = Estimate(mean, *ends, count, "over records of independent runs")
    if asked:
        # Imported here: that module is built on this one.
        from dejavu_lightning.core.intervals import p_value as of_interval

        found = found._replace(p_value=of_interval(found))
    return found
