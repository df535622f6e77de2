"""The déjà vu score of the most confident records, for every share of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.statistics import Counts, Floats
from dejavu_lightning.metrics.functional import kept_records, most_confident


def score_curve(
    target: Records, reference: Records, fractions: Sequence[float], paired: bool = True, seed: int = 0
) -> list[Estimate]:
    """Compute the score at each fraction with its 95% bootstrap interval, the numbers of ``score@p`` at the same p.

    Args:
        target, reference: records of label inference; of the same ids if ``paired``.
        fractions: p in (0, 1]; each model keeps the max(1, floor(p N)) records it is most confident of.
        paired: resample both together; else two samples.
        seed: of the bootstrap.
    """
    values = [_accuracy(target, p) - _accuracy(reference, p) for p in fractions]
    own, other = _Ordered(target, fractions), _Ordered(reference, fractions)
    drawn = statistics.bootstrap(
        lambda counts, others: own.accuracies(counts) - other.accuracies(others),
        len(target),
        None if paired else len(reference),
        seed,
    )
    return [
        Estimate(value, *statistics.interval(column), kind=statistics.KIND)
        for value, column in zip(values, drawn.T, strict=True)
    ]


def _accuracy(records: Records, fraction: float) -> float:
    return float(records.column("correct")[most_confident(records.column("confidence"), fraction)].double().mean())


class _Ordered:
    """Records by confidence; one pass over a resample serves every fraction."""

    def __init__(self, records: Records, fractions: Sequence[float]) -> None:
        self.order = records.column("confidence").argsort(descending=True, stable=True).numpy()
        self.correct = records.column("correct").double().numpy()[self.order]
        self.kept = [kept_records(fraction, len(records)) for fraction in fractions]

    def accuracies(self, counts: Counts) -> Floats:
        """counts (r, N) -> (r, fractions)."""
        drawn = counts[:, self.order]
        seen, right = np.cumsum(drawn, axis=1), np.cumsum(drawn * self.correct, axis=1)
        rows = np.arange(len(counts))
        columns = []
        for keep in self.kept:
            last = (seen < keep).sum(axis=1)  # the record whose copies complete the kept ones
            beyond = seen[rows, last] - keep
            columns.append((right[rows, last] - beyond * self.correct[last]) / keep)
        return np.stack(columns, axis=1)
