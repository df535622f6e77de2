"""Which records are memorized: their mean over seeds, how stable it is, and what predicts it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import Floats, RecordTerms, Z, holm, paired_gap, unbounded_mean

LEAST = 10  # records, of which a correlation says something


class RecordMean(NamedTuple):
    """How much of one record the target of each seed knew more than the reference.

    Attributes:
        id: of the record.
        seeds: of how many it was attacked.
        memorized: in how many of them the target knew more.
        mean: over these seeds, with an interval over them where there are two or more.
    """

    id: str
    seeds: int
    memorized: int
    mean: Estimate

    def row(self) -> dict[str, Any]:
        """As a row of ``records.csv``."""
        low, high = ("" if end is None else end for end in (self.mean.low, self.mean.high))
        counts = {"id": self.id, "seeds": self.seeds, "memorized": self.memorized}
        return counts | {"mean": self.mean.value, "mean_low": low, "mean_high": high}


class RankCorrelation(NamedTuple):
    """Spearman's correlation over records of two seeds, or of the mean over seeds with a fact.

    Attributes:
        first, second: seeds; or "mean" and the fact.
        records: that have both.
        estimate: with its interval; None of fewer than 10 records, or where one of both does not vary.
        p_value: two-sided, of "no correlation"; Holm's for all facts together.
    """

    first: str
    second: str
    records: int
    estimate: Estimate | None
    p_value: float | None

    def row(self) -> dict[str, Any]:
        """As a row of ``stability.csv`` or ``predictors.csv``."""
        found = self.estimate or Estimate(math.nan)
        numbers = (None if self.estimate is None else found.value, found.low, found.high, self.p_value)
        named = dict(zip(("correlation", "correlation_low", "correlation_high", "p_value"), numbers, strict=True))
        known = {name: "" if value is None else value for name, value in named.items()}
        return {"first": self.first, "second": self.second, "records": self.records, **known}


class RecordsOverSeeds(NamedTuple):
    """What several seeds say of single records.

    Attributes:
        records: the most memorized first.
        stability: of each two seeds.
        predictors: of the mean over seeds with each fact.
    """

    records: Sequence[RecordMean]
    stability: Sequence[RankCorrelation]
    predictors: Sequence[RankCorrelation]


def over_seeds(seeds: Mapping[str, RecordTerms], facts: Mapping[str, Mapping[str, float]]) -> RecordsOverSeeds:
    """Join what records add to a gap over seeds, by id.

    Seeds that divide the data otherwise attack other records: each is averaged over the seeds that attacked it. The
    interval of a mean is over those seeds, that of a correlation over records.

    Args:
        seeds: by name, of each attacked record what it adds to the test's gap: positive where the target knows more.
        facts: by name, a number of each record that may predict it; records without one are left out of it.

    Raises:
        ValueError: there are no seeds.

    Example:
        >>> seeds = {"0": {"a": 1.0, "b": 0.0}, "1": {"b": 1.0, "c": 0.0}}
        >>> [(one.id, one.seeds, one.mean.value) for one in over_seeds(seeds, {}).records]
        [('a', 1, 1.0), ('b', 2, 0.5), ('c', 1, 0.0)]
    """
    if not seeds:
        raise ValueError("seeds is empty; give what the records of at least one run add")
    met: dict[str, list[float]] = {}
    for terms in seeds.values():
        for identifier, value in terms.items():
            met.setdefault(identifier, []).append(value)
    right_or_wrong = all(value in (-1.0, 0.0, 1.0) for values in met.values() for value in values)
    records = [
        RecordMean(identifier, len(values), sum(value > 0 for value in values), _mean(np.array(values), right_or_wrong))
        for identifier, values in met.items()
    ]
    records.sort(key=lambda record: (-record.mean.value, record.id))
    means = {record.id: record.mean.value for record in records}
    stability = [_correlation(one, other, seeds[one], seeds[other]) for one, other in combinations(seeds, 2)]
    predictors = [_correlation("mean", name, means, fact) for name, fact in facts.items()]
    adjusted = holm([one.p_value for one in predictors])
    predictors = [one._replace(p_value=p_value) for one, p_value in zip(predictors, adjusted, strict=True)]
    return RecordsOverSeeds(records, stability, predictors)


def _mean(values: Floats, right_or_wrong: bool) -> Estimate:
    """Over seeds; of right or wrong answers with the interval of paired shares, which has a width of equal ones too."""
    if len(values) < 2 or not (right_or_wrong or np.ptp(values)):
        return Estimate(float(values.mean()))
    return paired_gap(values) if right_or_wrong else unbounded_mean(values)


def _correlation(first: str, second: str, one: Mapping[str, float], other: Mapping[str, float]) -> RankCorrelation:
    """Spearman's, its interval by Fisher's transformation with the variance of Bonett and Wright (2000)."""
    common = [identifier for identifier in one if identifier in other]
    pair = np.array([[one[identifier], other[identifier]] for identifier in common])
    if len(common) < LEAST or not np.ptp(pair, axis=0).all():
        return RankCorrelation(first, second, len(common), None, None)
    from scipy.stats import spearmanr

    found = spearmanr(pair[:, 0], pair[:, 1])
    value = float(found.statistic)
    centre = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, value)))
    half = Z * math.sqrt((1 + value**2 / 2) / (len(common) - 3))
    ends = math.tanh(centre - half), math.tanh(centre + half)
    kind = "Bonett and Wright over records"
    return RankCorrelation(first, second, len(common), Estimate(value, *ends, kind=kind), float(found.pvalue))
