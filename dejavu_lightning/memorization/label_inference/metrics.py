"""Déjà vu score, accuracies and outcomes of label inference (Meehan et al. 2023, arXiv 2304.13850, section 4)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import share
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.label_inference.score import score
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.metrics.functional import partition

FRACTIONS = {"score": 1.0, "score@20": 0.2, "score@5": 0.05}
OUTCOMES = ("memorized", "correlated", "misrepresented", "unassociated")


def compare_labels(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
    """Compute scores, accuracies and, of paired records, outcomes."""
    scores = {name: score(target, reference, fraction, paired) for name, fraction in FRACTIONS.items()}
    estimates = {name: estimate for name, (estimate, _) in scores.items()}
    for role, records in (("target", target), ("reference", reference)):
        for name, column in (("accuracy", "correct"), ("top5_accuracy", "correct_top5")):
            estimates[f"{role}_{name}"] = share(int(records.column(column).sum()), len(records))
    if paired:
        own, other = target.column("correct"), reference.column("correct")
        cells = zip(OUTCOMES, partition(own, other), strict=True)
        estimates |= {name: share(round(float(cell) * len(own)), len(own)) for name, cell in cells}
        outcome = own.double() - other.double()
        mean, spread = statistics.subsample_spread(lambda rows: float(outcome[rows].mean()), len(own), seed)
        estimates |= {"score_subsample_mean": Estimate(mean), "score_subsample_std": Estimate(spread)}
    gaps = {name: terms for name, (_, terms) in scores.items()}
    return Comparison(estimates, _joined(target, reference) if paired else None, gaps, target.settings)


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
    columns["memorization_confidence"] = (target.column("confidence") - reference.column("confidence")).numpy()
    return pa.table(columns)
