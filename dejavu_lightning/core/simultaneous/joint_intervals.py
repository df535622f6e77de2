"""Intervals so wide that all of a family hold at once with 95%, by Bonferroni: each misses with 5% / their number.

Score intervals such as Wilson's miss more often than they say that far out in the tails. Within
:func:`holding_together` shares have Clopper and Pearson's exact interval, and differences of paired shares one that is
made of two of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dejavu_lightning.core.estimate import LEVEL, Estimate

_FAMILY: ContextVar[int] = ContextVar("family", default=1)


@contextmanager
def holding_together(count: int) -> Iterator[None]:
    """Make the intervals of :mod:`~dejavu_lightning.core.intervals` members of a family that holds as a whole.

    Args:
        count: of the intervals of one estimate, such as the groups of a column. With 1 they stay what they are.

    Raises:
        ValueError: there are none.

    Example:
        >>> from dejavu_lightning.core.intervals import share
        >>> with holding_together(10):
        ...     "{:.2f} [{:.2f}, {:.2f}]".format(*share(30, 100)[:3])
        '0.30 [0.18, 0.44]'
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    token = _FAMILY.set(count)
    try:
        yield
    finally:
        _FAMILY.reset(token)


def of_many() -> bool:
    """Whether intervals are made for more than one estimate at once."""
    return _FAMILY.get() > 1


def upper_quantile() -> float:
    """Which quantile of its distribution the upper end of an interval is; .975 of a single one."""
    family = _FAMILY.get()
    return (1 + LEVEL) / 2 if family == 1 else 1 - (1 - LEVEL) / family / 2


def exact_share(value: float, records: float) -> Estimate:
    """Estimate a share with Clopper and Pearson's interval (1934), of an effective number of records as of a whole one.

    Args:
        value: the share.
        records: of how many; a fraction is taken as in surveys (Korn and Graubard 1998, Survey Methodology 24, 193).
    """
    low, high = _clopper_pearson(value * records, records, (1 - LEVEL) / _FAMILY.get())
    return Estimate(value, min(value, low), max(value, high), kind="Clopper and Pearson over records")


def joint_gap(grown: float, shrunk: float, records: float) -> tuple[float, float]:
    """Ends of the interval of ``grown - shrunk``, shares of paired records of which one excludes the other.

    By square-and-add, as :func:`~dejavu_lightning.core.intervals.difference`, of Clopper and Pearson's intervals.
    """
    (least, most), (fewest, greatest) = (
        _clopper_pearson(share * records, records, (1 - LEVEL) / _FAMILY.get()) for share in (grown, shrunk)
    )
    rest = (1 - grown) * (1 - shrunk)
    correlation = max(-1.0, -math.sqrt(grown * shrunk / rest)) if rest > 0 else 0.0
    low, high = (
        math.sqrt(one**2 - 2 * correlation * one * other + other**2)
        for one, other in ((grown - least, greatest - shrunk), (most - grown, shrunk - fewest))
    )
    return grown - shrunk - low, grown - shrunk + high


def _clopper_pearson(count: float, records: float, misses: float) -> tuple[float, float]:
    from scipy.special import betaincinv

    rest = max(0.0, records - count)
    low = float(betaincinv(count, rest + 1, misses / 2)) if count > 0 else 0.0
    high = 1 - float(betaincinv(rest, count + 1, misses / 2)) if rest > 0 else 1.0
    return low, high
