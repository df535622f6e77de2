"""Déjà vu score, accuracies and outcomes of label inference (Meehan et al. 2023, arXiv 2304.13850, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.memorization.statistics import Floats
from dejavu_lightning.metrics.functional import dejavu_score, kept_records, most_confident, partition

FRACTIONS = {"score": 1.0, "score@20": 0.2, "score@5": 0.05}
OUTCOMES = ("memorized", "correlated", "misrepresented", "unassociated")

Statistic = Callable[[statistics.Counts, statistics.Counts], Floats]


def compare_labels(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
    """Compute scores, accuracies and, of paired records, outcomes."""
    values = _point_values(target, reference, paired)
    if paired:
        outcome = target.column("correct").double() - reference.column("correct").double()
        mean, spread = statistics.subsample_spread(lambda rows: float(outcome[rows].mean()), len(target), seed)
        values |= {"score_subsample_mean": mean, "score_subsample_std": spread}
    replicates = _replicates(target, reference, paired, seed)
    estimates = statistics.with_intervals(values, replicates)
    return Comparison(estimates, _joined(target, reference) if paired else None, replicates, target.settings)


def _point_values(target: Records, reference: Records, paired: bool) -> dict[str, float]:
    own, other = target.column("correct"), reference.column("correct")
    values: dict[str, float] = {}
    for name, fraction in FRACTIONS.items():
        if paired:
            confidences = target.column("confidence"), reference.column("confidence")
            score = dejavu_score(own, other, *confidences, fraction)
        else:
            score = _top_accuracy(target, fraction) - _top_accuracy(reference, fraction)
        values[name] = float(score)
    for role, records in (("target", target), ("reference", reference)):
        values[f"{role}_accuracy"] = float(records.column("correct").double().mean())
        values[f"{role}_top5_accuracy"] = float(records.column("correct_top5").double().mean())
    if paired:
        values |= {name: float(share) for name, share in zip(OUTCOMES, partition(own, other), strict=True)}
    return values


def _top_accuracy(records: Records, fraction: float) -> torch.Tensor:
    return records.column("correct")[most_confident(records.column("confidence"), fraction)].double().mean()


def _replicates(target: Records, reference: Records, paired: bool, seed: int) -> dict[str, Floats]:
    def accuracy(records: Records, column: str, fraction: float) -> Callable[[statistics.Counts], Floats]:
        values = records.column(column).double().numpy()
        order = records.column("confidence").argsort(descending=True, stable=True).numpy()
        keep = kept_records(fraction, len(records))
        return lambda counts: statistics.mean_of_first(values, order, counts, keep)

    def difference(fraction: float) -> Statistic:
        own, other = accuracy(target, "correct", fraction), accuracy(reference, "correct", fraction)
        return lambda counts, others: own(counts) - other(others)

    def one(function: Callable[[statistics.Counts], Floats], of_target: bool) -> Statistic:
        return lambda counts, others: function(counts if of_target else others)

    named: dict[str, Statistic] = {name: difference(fraction) for name, fraction in FRACTIONS.items()}
    for role, records in (("target", target), ("reference", reference)):
        for name, column in (("accuracy", "correct"), ("top5_accuracy", "correct_top5")):
            named[f"{role}_{name}"] = one(accuracy(records, column, 1.0), role == "target")
    if paired:
        own, other = target.column("correct").numpy(), reference.column("correct").numpy()
        cells = (own & ~other, own & other, ~own & other, ~own & ~other)
        for name, cell in zip(OUTCOMES, cells, strict=True):
            named[name] = one(partial(_share, cell), True)

    def every(counts: statistics.Counts, others: statistics.Counts) -> Floats:
        return np.stack([statistic(counts, others) for statistic in named.values()], axis=1)

    values = statistics.bootstrap(every, len(target), None if paired else len(reference), seed)
    return dict(zip(named, values.T, strict=True))


def _share(cell: NDArray[np.bool_], counts: statistics.Counts) -> Floats:
    return np.asarray(counts @ cell.astype(np.float64) / len(cell))


def _joined(target: Records, reference: Records) -> pa.Table:
    own, other = target.column("correct"), reference.column("correct")
    code = (~own).int() * 2 + (own == other).int()  # own only: 0, both: 1, other only: 2, neither: 3
    columns: dict[str, Any] = {
        "id": target.table["id"],
        "label": target.table["label"],
        "outcome": [OUTCOMES[index] for index in code.tolist()],
    }
    for role, records in (("target", target), ("reference", reference)):
        columns |= {f"{role}_{name}": records.table[name] for name in ("predicted", "confidence", "neighbors")}
    if all("uncertainty" in records.table.column_names for records in (target, reference)):
        surer = reference.column("uncertainty") - target.column("uncertainty")
        columns["memorization_confidence"] = surer.numpy()
    return pa.table(columns)
