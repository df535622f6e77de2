"""95% intervals of shares, means and differences over independent records, and p-values of many together.

None draws samples or is of width 0. docs/reference/calibration.md has what they cover: shares and their differences
.93 to .97 of 50 records or more. scipy is imported where it is used: it takes longer than listing a study.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import LEVEL, OVER_SEEDS, Estimate
from dejavu_lightning.core.simultaneous.joint_intervals import exact_share, joint_gap, of_many, upper_quantile

Floats = NDArray[np.float64]
RecordTerms = Mapping[str, float]  # id -> what the record adds to an estimate

Z = 1.959963984540054  # the normal distribution's (1 + LEVEL) / 2 quantile
FEW = 3.5
BISECTIONS = 45  # of an interval of length 2 at most
OVER_RECORDS = "Tango over paired records"
LEAST_RANGE = 2.0  # of a difference of two differences of answers that are right or wrong


def share(part: int, whole: int) -> Estimate:
    """Estimate a share of records, with Wilson's interval.

    Args:
        part: how many of the records count.
        whole: how many there are, at least 1.

    Raises:
        ValueError: ``part`` is not in [0, whole], or there are no records.

    Example:
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*share(30, 100)[:3])
        '0.30 [0.22, 0.40]'
    """
    if not 0 <= part <= whole or whole < 1:
        raise ValueError(f"part must lie in [0, whole] and whole be at least 1, got {part} of {whole}")
    return wilson(part / whole, whole)


def wilson(value: float, records: float, kind: str = "Wilson over records") -> Estimate:
    """Estimate a share in [0, 1] with Wilson's interval (1927).

    A count of 1 to 3, of either kind, has the end of a Poisson count (Brown, Cai and DasGupta 2001, Statistical Science
    16, 101, section 4.1.1), since near 0 and 1 Wilson's is too short.

    Args:
        value: the share.
        records: of how many; may be an effective number, with a fraction.
        kind: what the interval is and what it is over.

    Example:
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*wilson(0.0, 50)[:3])
        '0.00 [0.00, 0.07]'
    """
    if of_many():
        return exact_share(value, records)
    centre = (value + Z**2 / (2 * records)) / (1 + Z**2 / records)
    half = Z * math.sqrt(value * (1 - value) / records + Z**2 / (4 * records**2)) / (1 + Z**2 / records)
    low = min(value, centre - half, _rare(value * records) / records)
    high = max(value, centre + half, 1 - _rare((1 - value) * records) / records)
    return Estimate(value, max(0.0, low), min(1.0, high), kind=kind)


def _rare(count: float) -> float:
    """The mean below which a Poisson count as high as this one comes in fewer than 5% of samples; inf above 3."""
    if count > FEW:
        return math.inf
    from scipy.special import gammaincinv

    return float(gammaincinv(count, 1 - LEVEL)) if count > 0 else 0.0


def bounded_mean(values: Floats) -> Estimate:
    """Estimate the mean of values in [0, 1], with the interval of a share of as many records as vary like that.

    Values spread less than zeros and ones of the same mean; Wilson's interval is taken of the number of zeros and
    ones whose mean would vary as theirs does, as in the analysis of surveys. Zeros and ones keep their number.

    Args:
        values: (N,) in [0, 1].

    Example:
        >>> import numpy as np
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*bounded_mean(np.linspace(0.4, 0.6, 50))[:3])
        '0.50 [0.48, 0.52]'
    """
    count, mean = len(values), min(1.0, max(0.0, float(values.mean())))
    binary = mean * (1 - mean)
    squares = np.square(values - mean)
    # A few large values may be missed by a sample: one more record as far from the mean as the furthest.
    spread = min(binary, float(squares.sum() + squares.max()) / (count + 1))
    return wilson(mean, count * binary / spread if spread > 0 else count)


def paired_gap(differences: Floats) -> Estimate:
    """Estimate the mean of differences of paired records, with Tango's score interval.

    Tango (1998, Statistics in Medicine 17, 891) is of paired shares, whose differences are -1, 0 and 1. Others are
    taken as those of a size s, -s, 0 and s, that have the same mean and vary as much. Near -1 and 1 the ends are those
    of the share of records that differ, see :func:`wilson`.

    Args:
        differences: (N,) in [-1, 1].

    Example:
        >>> import numpy as np
        >>> differences = np.repeat([1.0, 0.0, -1.0], [20, 70, 10])  # 20 records grew, 10 shrank
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*paired_gap(differences)[:3])
        '0.10 [-0.01, 0.21]'
    """
    count, value, sizes = len(differences), float(differences.mean()), np.abs(differences)
    total, largest = float(sizes.sum()), float(sizes.max())
    size = 1.0
    if total > 0:
        # As in bounded_mean: one more record of the largest size. Differences of one size keep theirs.
        squares = (float(np.square(sizes).sum()) + largest**2) * count / (count + 1)
        size = min(largest, squares / total)
    grown = min(1.0, (total + value * count) / (2 * count * size))
    shrunk = min(1.0, (total - value * count) / (2 * count * size))
    tango = not of_many() and (-_tango(shrunk, grown, count), _tango(grown, shrunk, count))
    low, high = tango or joint_gap(grown, shrunk, count)
    kind = f"{'Tango' if tango else 'of two shares'} over records"
    return Estimate(value, min(value, size * low), max(value, size * high), kind=kind)


def _tango(grown: float, shrunk: float, count: int) -> float:
    """Upper end of the interval of a difference of two shares: of records that grew and of those that shrank."""
    value = grown - shrunk
    inside, outside = value, 1.0
    for _ in range(BISECTIONS):
        tried = (inside + outside) / 2
        # The share that shrinks, most likely if the difference were the one tried.
        slope = (2 - value) * tried - grown - shrunk
        least = (math.sqrt(slope**2 + 8 * shrunk * tried * (1 - tried)) - slope) / 4
        variance = 2 * least + tried * (1 - tried)
        fits = count * (tried - value) ** 2 <= Z**2 * variance
        inside, outside = (tried, outside) if fits else (inside, tried)
    rare = (1 - grown) * count
    return max(inside, 1 - _rare(rare) / count) if rare <= FEW else inside


def unbounded_mean(values: Floats) -> Estimate:
    """Estimate the mean of values with Student's t interval; of a single value there is none.

    Args:
        values: (N,).

    Example:
        >>> import numpy as np
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*unbounded_mean(np.array([1.0, 2.0, 3.0]))[:3])
        '2.00 [-0.48, 4.48]'
    """
    count, mean = len(values), float(values.mean())
    if count < 2:
        return Estimate(mean)
    from scipy.stats import t

    half = float(t.ppf(upper_quantile(), count - 1)) * float(values.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, kind="Student's t over records")


def difference(first: Estimate, second: Estimate, correlation: float = 0.0) -> Estimate:
    """Subtract two estimates, with an interval from both of theirs (the square-and-add method of Newcombe 1998).

    ``(d - low)^2 = a^2 - 2 r a b + b^2`` with a from the first value to its lower end, b from the second to its upper
    end and r their correlation; the upper end likewise. See Zou and Donner (2008, Statistics in Medicine 27, 1693).

    Args:
        first, second: first minus second is estimated.
        correlation: r, 0 of independent samples.

    Example:
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*difference(share(60, 100), share(30, 100))[:3])
        '0.30 [0.16, 0.42]'
    """
    value = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value)
    below = _together(first.value - first.low, second.high - second.value, correlation)
    above = _together(first.high - first.value, second.value - second.low, correlation)
    return Estimate(value, value - below, value + above, kind="square-and-add over records")


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Average one or more estimates of independent samples, by the method of :func:`difference`.

    Example:
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*average([share(60, 100), share(30, 100)])[:3])
        '0.45 [0.39, 0.52]'
    """
    count = len(estimates)
    value = math.fsum(estimate.value for estimate in estimates) / count
    below = [estimate.value - estimate.low for estimate in estimates if estimate.low is not None]
    above = [estimate.high - estimate.value for estimate in estimates if estimate.high is not None]
    if len(below) < count or len(above) < count:
        return Estimate(value)
    ends = value - math.hypot(*below) / count, value + math.hypot(*above) / count
    return Estimate(value, *ends, kind="square-and-add over records")


def _together(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))


def p_value(estimate: Estimate) -> float | None:
    """Compute the one-sided p-value of "the truth is 0 or less" from an interval; None without one.

    It is that of the normal distribution whose lower end this is: below .025 just where that end lies above 0.

    Args:
        estimate: with its 95% interval.

    Example:
        >>> round(p_value(difference(share(60, 100), share(50, 100))), 2)
        0.08
    """
    if estimate.low is None or estimate.high is None:
        return None
    value = estimate.value
    reach = value - estimate.low if value > 0 else estimate.high - value
    if reach <= 0:
        return 0.5 if value == 0 else float(value < 0)
    return math.erfc(Z * value / reach / math.sqrt(2)) / 2


def record_difference(first: Sequence[RecordTerms], second: Sequence[RecordTerms]) -> Estimate | None:
    """Compute the first estimate minus the second, its interval over the records that both were measured on.

    An estimate is the sum, over its samples, of the mean of what the records add; what a record adds to both cancels,
    so that the interval can be much narrower than that of two independent samples. It is None where the two were
    measured on other records, or it was not kept what they add.

    Args:
        first, second: of each sample, such as attacked and held-out records, what its records add, by id.

    Example:
        >>> record_difference([{"a": 1.0, "b": 1.0}], [{"a": 0.0, "b": 1.0}]).value
        0.5
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
    """Compute the two-sided p-value of "there is no difference", below .05 just where the interval leaves out 0.

    Args:
        difference: with its 95% interval, without which there is no p-value.

    Example:
        >>> round(difference_p_value(share(60, 100)._replace(value=0.0, low=-0.5, high=0.5)), 2)
        1.0
    """
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
    Calling those below .05 real is wrong about any of them in at most 5% of tables.

    Args:
        p_values: in [0, 1]; None, where there is none, stays.

    Example:
        >>> holm([0.01, None, 0.03, 0.02])
        [0.03, None, 0.04, 0.04]
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (value, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * value))
        adjusted[place] = least
    return adjusted
