"""The déjà vu score of the most confident records (Meehan et al. 2023, arXiv 2304.13850, section 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import Floats, Z, difference, paired_gap, share, wilson
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.metrics.functional import kept_weights


def score(
    target: Records, reference: Records, fraction: float, paired: bool, column: str = "correct"
) -> tuple[Estimate, tuple[Terms, ...]]:
    """Compute score@p = acc(T_p) - acc(R_p), each of the records that its model is most confident of.

    Args:
        target, reference: records of label inference; of the same ids in the same order if ``paired``.
        fraction: p in (0, 1]; max(1, floor(p N)) records are kept of each model, ties at the cut by their mean.
        paired: else the two are independent samples.
        column: what counts as right.

    Returns:
        The estimate, and what each record adds to it.
    """
    if fraction == 1:
        own, other = (_Accuracy.of_all(records, column) for records in (target, reference))
    else:
        own, other = (_Accuracy.of_most_confident(records, fraction, column) for records in (target, reference))
    if not paired:
        terms = Terms(target.ids, own.terms), Terms(reference.ids, -other.terms)
        return difference(own.estimate, other.estimate), terms
    joint = Terms(target.ids, own.terms - other.terms)
    if fraction == 1:
        return paired_gap(joint.values), (joint,)
    spreads = float(own.terms.std()), float(other.terms.std())
    alike = float(np.mean((own.terms - own.terms.mean()) * (other.terms - other.terms.mean())))
    correlation = alike / (spreads[0] * spreads[1]) if min(spreads) > 0 else 0.0
    return difference(own.estimate, other.estimate, correlation), (joint,)


class _Accuracy(NamedTuple):
    """Accuracy of a model's kept records; ``terms`` (N,) what each record adds, their mean is the accuracy."""

    estimate: Estimate
    terms: Floats

    @classmethod
    def of_all(cls, records: Records, column: str) -> _Accuracy:
        correct = records.column(column).double().numpy()
        return cls(share(int(correct.sum()), len(correct)), correct)

    @classmethod
    def of_most_confident(cls, records: Records, fraction: float, column: str) -> _Accuracy:
        """With m the accuracy of records at the cut, which come and go with it, a record adds m + w (correct - m) / p.

        The interval is Wilson's, of as many records as would vary as much: w unequal, as of ties, makes more records
        count, and records at the cut that differ from the kept ones make the accuracy vary more.
        """
        correct = records.column(column).double().numpy()
        confidence = records.column("confidence")
        weights = kept_weights(confidence, fraction).numpy()
        kept, count = float(weights.sum()), len(weights)
        accuracy, at_cut = float(weights @ correct) / kept, _accuracy_at_cut(correct, confidence.numpy(), weights)
        smoothed = (accuracy * kept + Z**2 / 2) / (kept + Z**2)  # as Wilson's centre: 0 and 1 vary, too
        binary = smoothed * (1 - smoothed)
        independent = kept**2 / float(np.square(weights).sum())
        variance = binary / independent + (1 - kept / count) * (smoothed - at_cut) ** 2 / kept
        return cls(wilson(accuracy, binary / variance), at_cut + weights * (correct - at_cut) * count / kept)


def _accuracy_at_cut(correct: Floats, confidence: Floats, weights: Floats) -> float:
    """Accuracy of the records about as confident as the last one kept."""
    order = np.argsort(-confidence, kind="stable")
    kept = round(float(weights.sum()))
    reach = max(5, kept // 8)
    near = np.zeros(len(order), dtype=bool)
    near[order[max(0, kept - reach) : kept + reach]] = True
    tied = (weights > 0) & (weights < 1)
    return float(correct[tied if tied.sum() > 2 * reach else near | tied].mean())
